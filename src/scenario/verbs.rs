//! The verbs of scenario files. `tests/scenarios/README.md` tells clerks how to use them.

use std::fmt::Write as _;

use goldenscript::{ArgumentConsumer, Command};

use super::show::{charge_words, return_words};
use super::stage::{Said, Stage};
use crate::config::Config;
use crate::desk::DeskError;
use crate::desk::cash::TopUp;
use crate::desk::{accounts, batches, exceptions};
use crate::domain::account::Kind;
use crate::domain::countries::Countries;
use crate::domain::length::measure;
use crate::domain::money::Micros;
use crate::domain::package::Gift;
use crate::domain::period::{Timestamp, Zone};
use crate::domain::price::{Method, Package, PriceBook, Rate, Scope, Tier};
use crate::ingest;
use crate::jobs;
use crate::progress::Silent;
use crate::runner::{self, Options, describe};
use crate::store::accounts::NewAccount;
use crate::store::charging::charges;
use crate::store::failures::Which;
use crate::store::{returns, status};

/// Counts of a settling run that its returns do not show.
const TOLD: &[&str] = &["no_money", "late", "exceptions", "waiting", "finalised", "parked"];
/// What housekeeping deleted of the books, and what of it something still needs. How many runs there were
/// depends on what the story did before.
const GONE: &[&str] = &["messages", "receipts", "needed", "rejected_lines"];

pub(super) type Arguments<'a> = ArgumentConsumer<'a>;

impl Stage {
    pub fn perform(&mut self, command: &Command) -> Said<String> {
        let mut given = command.consume_args();
        let said = match command.name.as_str() {
            "at" => self.at(&mut given),
            "product" => self.product(&mut given),
            "package" => self.package(&mut given),
            "price" => self.price(&mut given),
            "account" => self.account(&mut given),
            "top-up" => self.top_up(&mut given),
            "withdraw" => self.withdraw(&mut given),
            "penalize" => self.penalize(&mut given),
            "set" => self.change_account(&mut given),
            "hold" | "release" | "close" => self.standing(&command.name, &mut given),
            "verify" | "activate" => self.admit(&command.name, &mut given),
            "order" => self.order(&mut given),
            "coupon" => self.coupon(&mut given),
            "policy" => self.policy(&mut given),
            "refund" => self.refund(&mut given),
            "grant" | "decline" => self.decide(&command.name, &mut given),
            "message" => self.message(&mut given),
            "receipt" => self.receipt(&mut given),
            "ingest" => self.ingest_command(&mut given),
            "retry" => self.retry(&mut given),
            "run" => self.run_job(&mut given),
            "show" => self.show(&mut given),
            "explain" => self.explain(&mut given),
            "exceptions" => self.exceptions(&mut given),
            "approve" => self.approve(&mut given),
            "dismiss" => self.dismiss(&mut given),
            "renewal" => self.renewal(&mut given),
            "notices" => self.notices(&mut given),
            "usage" => self.usage(&mut given),
            "messages" => self.messages(&mut given),
            "bill" => self.bill(&mut given),
            "bills" => self.bills(&mut given),
            "invoice" => self.invoice(&mut given),
            "buyer" => self.buyer(&mut given),
            "length" => self.length(&mut given),
            other => Err(format!("unknown verb {other}; the verbs stand in tests/scenarios/README.md")),
        }?;
        given.reject_next().map_err(|error| error.to_string())?;
        Ok(said)
    }

    fn at(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        self.now = time(need(given, "a time")?, self.zone())?;
        Ok(String::new())
    }

    /// `package ID size= price=` puts a package on sale; without `size=` it adds the price of one
    /// kind or account to a package that is on sale already.
    fn package(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "a package")?.to_owned();
        let price = (scope(given), money(given.take_key("price").ok_or("a package needs price=")?)?);
        let Some(size) = given.take_key("size").map(number).transpose()? else {
            return self.price_package(&id, price);
        };
        let product = given.take_key("product").unwrap_or("sms-domestic").to_owned();
        let currency = given.take_key("currency").unwrap_or("CNY");
        let validity = given.take_key("validity").map(str::parse).transpose()?;
        let renewal_discount_ppm =
            given.take_key("renewal-discount").map(money).transpose()?.map(|off| off.0);
        let renewal_validity = given.take_key("renewal-validity").map(str::parse).transpose()?;
        let countries: Countries = given.take_key("countries").unwrap_or_default().parse()?;
        let (from, until) = span(given, self.zone())?;
        let gift = gift(given)?;
        self.configure(|config| {
            let validity = validity.or(config.catalog.get(&product).map(|p| p.validity));
            let validity = validity.ok_or_else(|| format!("there is no product {product}"))?;
            let package = Package {
                id: id.as_str().into(),
                product: product.as_str().into(),
                size,
                currency: currency.into(),
                validity,
                gift,
                countries: countries.clone(),
                prices: vec![price],
                from,
                until,
                renewal_discount_ppm,
                renewal_validity,
            };
            rebuild(config, |_, packages| {
                packages.retain(|known| *known.id != *package.id);
                packages.push(package);
            })
        })
    }

    fn price_package(&mut self, id: &str, price: (Scope, Micros)) -> Said<String> {
        self.configure(|config| {
            if config.book.package(id).is_none() {
                return Err(format!("package {id} is not on sale yet: give its size="));
            }
            rebuild(config, |_, packages| {
                for package in packages.iter_mut().filter(|known| *known.id == *id) {
                    package.prices.retain(|(scope, _)| *scope != price.0);
                    package.prices.push(price.clone());
                    package.prices.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
            })
        })
    }

    /// `price PRODUCT CLASS "100:0.045 *:0.040"`: a list of the script's own, instead of the one
    /// that is shipped for the same product, class, currency and buyer.
    fn price(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let product = need(given, "a product")?.to_owned();
        let class = need(given, "a template type or country")?.to_owned();
        let tiers = tiers(need(given, "tiers such as 100:0.045 *:0.040")?)?;
        let scope = scope(given);
        let (from, until) = span(given, self.zone())?;
        let rate = Rate {
            product: product.as_str().into(),
            currency: given.take_key("currency").unwrap_or("CNY").into(),
            scope,
            class: if matches!(&*class, "all" | "none") { "".into() } else { class.as_str().into() },
            from,
            until,
            method: match given.take_key("method") {
                Some("volume") => Method::Volume,
                _ => Method::Graduated,
            },
            tiers,
        };
        let begins = rate.from == Timestamp(i64::MIN);
        self.configure(|config| {
            rebuild(config, |rates, _| {
                let same = |known: &Rate| {
                    (&known.product, &known.currency, &known.scope, &known.class)
                        == (&rate.product, &rate.currency, &rate.scope, &rate.class)
                };
                // A list without `from` begins the story anew; others continue it.
                rates.retain(|known| !(begins && same(known)));
                rates.push(rate);
            })
        })
    }

    fn account(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an account")?.to_owned();
        let kind = given.take_key("kind").unwrap_or("enterprise");
        let new = NewAccount {
            account_id: id.clone(),
            name: given.take_key("name").unwrap_or(&id).to_owned(),
            kind: Kind::parse(kind).ok_or_else(|| format!("unknown kind {kind}"))?,
            currency: given.take_key("currency").unwrap_or("CNY").to_owned(),
            email: None,
            phone: None,
            locale: "en".into(),
            credit_limit: given.take_key("credit-limit").map_or(Ok(Micros::ZERO), money)?,
        };
        let balance = given.take_key("balance").map(money).transpose()?;
        self.runtime.block_on(accounts::add(&self.db, &new, self.now)).map_err(refusal)?;
        if let Some(balance) = balance {
            let reference = self.next_reference();
            self.pay_in(&id, TopUp { amount: balance, reference: &reference, payer: None })?;
        }
        Ok(String::new())
    }

    fn admit(&mut self, verb: &str, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an account")?;
        let (db, now) = (&self.db, self.now);
        let done = match verb {
            "verify" => {
                let region = given.take_key("region");
                self.runtime.block_on(accounts::verify(db, id, region, now))
            }
            _ => {
                let product = need(given, "a product")?;
                self.runtime.block_on(accounts::activate(db, &self.config, id, product, now))
            }
        };
        done.map(|_| String::new()).map_err(refusal)
    }

    /// Writes messages that the next `ingest` or `run` hands in as one batch.
    fn message(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "a message id")?;
        let zone = self.zone();
        let at = given.take_key("at").map_or(Ok(self.now), |text| time(text, zone))?;
        let count = given.take_key("count").map_or(Ok(1), number)?;
        let times = given.take_key("times").map_or(Ok(1), number)?;
        let times = usize::try_from(times).map_err(|error| error.to_string())?;
        let mut line = serde_json::Map::new();
        let defaults = [("channel", "sms"), ("submit_status", "accepted")];
        line.extend(defaults.map(|(key, value)| (key.to_owned(), value.into())));
        line.insert("submit_time".into(), zone.format(at).into());
        while let Some((key, value)) = given.next_key() {
            let key = match key {
                "from" => "account_id",
                "to" => "country",
                "type" => "template_type",
                "units" => "sms_size",
                "text" => "content",
                "sign" => "sign_name",
                "status" => "submit_status",
                "code" => "reject_code",
                other => other,
            };
            let value = if key == "content" { repeated(value, times)? } else { value.to_owned() };
            line.insert(key.to_owned(), value.into());
        }
        for index in 1..=count {
            let id = if count == 1 { id.to_owned() } else { format!("{id}-{index}") };
            line.insert("message_id".into(), id.into());
            let _ = writeln!(self.pending, "{}", serde_json::Value::Object(line.clone()));
        }
        Ok(String::new())
    }

    /// Writes receipts that the next `ingest` or `run` hands in as one batch, after the messages.
    fn receipt(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let (id, status) = (need(given, "a message id")?, need(given, "a status")?);
        let zone = self.zone();
        let at = given.take_key("at").map_or(Ok(self.now), |text| time(text, zone))?;
        let count = given.take_key("count").map_or(Ok(1), number)?;
        let mut line = serde_json::Map::new();
        line.insert("status".into(), status.into());
        line.insert("report_time".into(), zone.format(at).into());
        while let Some((key, value)) = given.next_key() {
            let key = if key == "of" { "account_id" } else { key };
            line.insert(key.to_owned(), value.to_owned().into());
        }
        for index in 1..=count {
            let id = if count == 1 { id.to_owned() } else { format!("{id}-{index}") };
            line.insert("message_id".into(), id.into());
            let _ = writeln!(self.pending_receipts, "{}", serde_json::Value::Object(line.clone()));
        }
        Ok(String::new())
    }

    /// `ingest` hands in the messages written so far; with lines, a file of those lines.
    fn ingest_command(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let source = given.take_key("source").unwrap_or("generic").to_owned();
        let name = given.take_key("name").unwrap_or("file.csv").to_owned();
        let receipts = given.take_key("kind") == Some("receipts");
        let mut content = String::new();
        while let Some(line) = given.next_pos() {
            content.push_str(line);
            content.push('\n');
        }
        if content.is_empty() {
            self.ingest_pending()
        } else {
            let kind = if receipts { ingest::Kind::Receipts } else { ingest::Kind::Messages };
            self.ingest(kind, &name, content.as_bytes(), &source)
        }
    }

    fn retry(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let batch = number(need(given, "a batch")?)?;
        let retried = batches::retry_batch(&self.db, &self.config, batch, self.now);
        let retried = self.runtime.block_on(retried).map_err(refusal)?;
        let taken = retried.taken.map_or(0, |batch| batch.lines);
        Ok(format!("{taken} taken, {} still rejected\n", retried.still_rejected))
    }

    fn approve(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an exception")?;
        let reason = given.take_key("reason").unwrap_or("as the carrier told us");
        let which = Which { account_id: given.take_key("account"), message_id: given.take_key("message") };
        let approved = exceptions::approve(&self.db, &self.config, id, reason, which, self.now);
        let approved = self.runtime.block_on(approved).map_err(refusal)?;
        Ok(return_words(&approved.returns))
    }

    fn dismiss(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let id = need(given, "an exception")?;
        let reason = given.take_key("reason").unwrap_or("the carrier was wrong");
        let dismissed = exceptions::dismiss(&self.db, id, reason, self.now);
        self.runtime.block_on(dismissed).map_err(refusal)?;
        Ok(String::new())
    }

    /// Runs a job and tells what it charged, and what it had to leave.
    fn run_job(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let name = need(given, "a job")?;
        let dry_run = given.next_pos() == Some("dry");
        let job = jobs::find(name).ok_or_else(|| format!("unknown job {name}"))?;
        let mut said = self.ingest_pending()?;
        if said.lines().count() == 1 && said.contains(" accepted\n") {
            // Everything was taken: not worth a line of the story.
            said.clear();
        }
        let options = Options { as_of: Some(self.now), dry_run, catch_up: true, ..Options::default() };
        let finished = self.runtime.block_on(runner::run(&self.db, &self.config, job, options, &Silent));
        let finished = finished.map_err(|error| describe(&error))?;
        let mut charged = Vec::new();
        if !dry_run {
            let (charges, returns, waiting) = self
                .runtime
                .block_on(async {
                    let mut tx = self.db.read().await?;
                    let charges = charges(&mut tx, None, Some(finished.run_no)).await?;
                    let returns = returns::of_run(&mut tx, finished.run_no).await?;
                    let waiting = status::suspense(&mut tx, 100).await?;
                    Ok::<_, crate::store::StoreError>((charges, returns, waiting))
                })
                .map_err(|error| describe(&error))?;
            charged = charges;
            for charge in &charged {
                let _ = writeln!(said, "{}", charge_words(charge, self.zone()));
            }
            said.push_str(&return_words(&returns));
            said.push_str(&self.review_lines(finished.run_no)?);
            let told: &[&str] = match job.name {
                "settle-receipts" => TOLD,
                "housekeeping" => GONE,
                _ => &[],
            };
            if !told.is_empty() {
                for (name, count) in
                    finished.counts.iter().filter(|(name, count)| *count != 0 && told.contains(name))
                {
                    let _ = writeln!(said, "{count} {}", name.replace('_', " "));
                }
            } else if let Some(told) = super::plans::told(&finished) {
                said.push_str(&told);
            } else {
                for row in waiting {
                    let _ = writeln!(said, "{} {}  waits: {}", row.account_id, row.message_id, row.reason);
                }
            }
        }
        if job.name == "monthly-bills" {
            said.push_str(&self.billed(&finished, dry_run)?);
        }
        finished
            .effects
            .first
            .iter()
            .for_each(|effect| said.push_str(&format!("would {} {effect}\n", job.verb)));
        if charged.is_empty() && finished.outcome == runner::Outcome::NothingToDo {
            said.push_str("nothing to do\n");
        }
        Ok(said)
    }

    fn length(&mut self, given: &mut Arguments<'_>) -> Said<String> {
        let text = need(given, "a text")?;
        let times = given.take_key("times").map_or(Ok(1), number)?;
        let product = given.take_key("product").unwrap_or("sms-domestic");
        let known =
            self.config.catalog.get(product).ok_or_else(|| format!("there is no product {product}"))?;
        let text = repeated(text, usize::try_from(times).map_err(|error| error.to_string())?)?;
        let length = measure(known.length, known.astral, given.take_key("sign"), &text);
        Ok(format!("{} {} -> {} messages\n", length.units, length.encoding.as_str(), length.segments))
    }
}

/// A text so many times, up to what a message may be in a story.
fn repeated(text: &str, times: usize) -> Said<String> {
    const LONGEST: usize = 1_000_000;
    match text.len().checked_mul(times) {
        Some(..=LONGEST) => Ok(text.repeat(times)),
        _ => Err(format!("times is too many: a text is at most {LONGEST} bytes long")),
    }
}

fn rebuild(config: &mut Config, change: impl FnOnce(&mut Vec<Rate>, &mut Vec<Package>)) -> Said<()> {
    let (mut rates, mut packages) = (config.book.rates.clone(), config.book.packages.clone());
    change(&mut rates, &mut packages);
    config.book = PriceBook::new(rates, packages).map_err(|faults| {
        let words: Vec<String> = faults.iter().map(|fault| fault.problem.to_string()).collect();
        words.join("; ")
    })?;
    Ok(())
}

/// `gift-units=`, `gift-months=` and `gift-coupon=` of a package.
fn gift(given: &mut Arguments<'_>) -> Said<Gift> {
    let months = given.take_key("gift-months").map_or(Ok(0), number)?;
    Ok(Gift {
        units: given.take_key("gift-units").map_or(Ok(0), number)?,
        months: u32::try_from(months).map_err(|error| error.to_string())?,
        coupon: given.take_key("gift-coupon").map_or(Ok(Micros::ZERO), money)?,
    })
}

/// Whom a price is for: `account=`, `kind=`, or else everyone.
fn scope(given: &mut Arguments<'_>) -> Scope {
    match (given.take_key("account"), given.take_key("kind")) {
        (Some(account), _) => Scope::Account(account.into()),
        (None, Some(kind)) => Scope::Kind(kind.into()),
        (None, None) => Scope::Everyone,
    }
}

/// `from=` and `until=`; without them always.
fn span(given: &mut Arguments<'_>, zone: Zone) -> Said<(Timestamp, Option<Timestamp>)> {
    let from = given.take_key("from").map_or(Ok(Timestamp(i64::MIN)), |text| time(text, zone))?;
    Ok((from, given.take_key("until").map(|text| time(text, zone)).transpose()?))
}

pub(super) fn need<'a>(given: &mut Arguments<'a>, what: &str) -> Said<&'a str> {
    given.next_pos().ok_or_else(|| format!("{what} is missing"))
}

pub(super) fn number(text: &str) -> Said<i64> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

pub(super) fn money(text: &str) -> Said<Micros> {
    Micros::parse(text).map_err(|fault| fault.to_string())
}

/// Reads `2026-03-01 09:05`, with seconds and fractions where they matter, in the billing zone; or
/// RFC 3339.
pub(super) fn time(text: &str, zone: Zone) -> Said<Timestamp> {
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok());
    let read = local.map(|local| zone.resolve(local)).or_else(|| Timestamp::parse_rfc3339(text));
    read.ok_or_else(|| format!("{text} is not a time"))
}

/// Reads `100:0.045 300:0.040 *:0.039`: up to so many units at this price.
fn tiers(text: &str) -> Said<Vec<Tier>> {
    let mut over = 0;
    let mut tiers = Vec::new();
    for word in text.split_whitespace() {
        let (bound, price) = word.split_once(':').unwrap_or(("*", word));
        let up_to = if bound == "*" { None } else { Some(number(bound)?) };
        tiers.push(Tier { over, up_to, price: money(price)? });
        over = up_to.unwrap_or(over);
    }
    Ok(tiers)
}

/// A refusal with its name; anything else in full.
pub(super) fn refusal(error: DeskError) -> String {
    match error {
        DeskError::Refused { code, message } => format!("{code}: {message}"),
        other => describe(&other),
    }
}
