//! `package list`, `price show`, `length`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{count, table};
use super::{Failure, Session};
use crate::config::Config;
use crate::desk::DeskError;
use crate::desk::accounts;
use crate::desk::orders::buyer;
use crate::domain::length::{MAX_CHARACTERS, measure};
use crate::domain::money::Micros;
use crate::domain::period::Validity;
use crate::domain::price::{Buyer, Method, Package, Rate, Scope, Tier};
use crate::domain::product::{PricedBy, Product};

#[derive(Debug, Subcommand)]
pub enum PackageCommand {
    /// Packages on sale, at the general price or as one account is shown them
    List {
        #[arg(long)]
        account: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum PriceCommand {
    /// Pay-as-you-go price lists that hold now
    Show {
        /// As this account is charged
        #[arg(long)]
        account: Option<String>,
        #[arg(long)]
        product: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub struct LengthArgs {
    text: String,
    #[arg(long)]
    product: String,
    /// The signature, without its brackets
    #[arg(long)]
    signature: Option<String>,
}

pub async fn packages(session: &Session, command: PackageCommand) -> Result<ExitCode, Failure> {
    let PackageCommand::List { account } = command;
    let config = session.config()?;
    let now = session.now();
    let offers: Vec<(&Package, Micros)> = match account {
        Some(account_id) => {
            let db = session.open(&config).await?;
            let account = accounts::find(&mut db.read().await?, &account_id).await?;
            config.book.packages_for(buyer(&account), now)
        }
        // Nobody in particular: every currency at its general price.
        None => {
            let general = |package: &Package| {
                let mut prices = package.prices.iter().filter(|(scope, _)| *scope == Scope::Everyone);
                prices.next().filter(|_| package.on_sale(now)).map(|(_, price)| *price)
            };
            config.book.packages.iter().filter_map(|package| Some((package, general(package)?))).collect()
        }
    };
    let json: Vec<Value> =
        offers.iter().map(|(package, price)| package_json(package, *price, &config)).collect();
    session.output.show(&json!(json), || {
        let row = |(package, price): &(&Package, Micros)| {
            let renewal = renewal(package, *price, &config).map(|(price, validity)| match validity {
                same if same == package.validity => price.for_people(),
                other => format!("{}, {other}", price.for_people()),
            });
            vec![
                package.id.to_string(),
                package.product.to_string(),
                count(package.size),
                format!("{} {}", price.for_people(), package.currency),
                Micros(price.0 / package.size.max(1)).to_string(),
                package.validity.to_string(),
                renewal.unwrap_or_default(),
                gift_words(package),
            ]
        };
        let mut columns =
            vec!["package", "product", ">size", ">price", ">a unit", "validity", ">renewal", "gifts"];
        let mut rows: Vec<Vec<String>> = offers.iter().map(row).collect();
        if rows.iter().all(|row| row.last().is_none_or(String::is_empty)) {
            columns.pop();
            rows.iter_mut().for_each(|row| _ = row.pop());
        }
        table(&columns, rows)
    });
    Ok(ExitCode::SUCCESS)
}

/// Price and validity of a renewal, where plans of the product are renewed automatically (D73).
fn renewal(package: &Package, price: Micros, config: &Config) -> Option<(Micros, Validity)> {
    let renewed = config.catalog.get(&package.product).is_some_and(|product| product.renewal);
    renewed.then(|| (package.renewal_price(price), package.renewal_validity.unwrap_or(package.validity)))
}

fn package_json(package: &Package, price: Micros, config: &Config) -> Value {
    let renewal = renewal(package, price, config);
    json!({
        "package": &*package.id,
        "product": &*package.product,
        "size": package.size,
        "price": price.to_string(),
        "currency": &*package.currency,
        "validity": package.validity.to_string(),
        "gift_units": package.gift.units,
        "gift_months": package.gift.months,
        "gift_coupon": package.gift.coupon.to_string(),
        "renewal_price": renewal.map(|(price, _)| price.to_string()),
        "renewal_validity": renewal.map(|(_, validity)| validity.to_string()),
        "countries": package.countries.named().0,
        "except": package.countries.named().1,
    })
}

/// What comes with a package: `100 units, 6 months, a coupon of 5.00`.
fn gift_words(package: &Package) -> String {
    let gift = package.gift;
    let mut gifts = Vec::new();
    if gift.units > 0 {
        gifts.push(format!("{} units", count(gift.units)));
    }
    if gift.months > 0 {
        gifts.push(format!("{} month{}", gift.months, plural(gift.months.into())));
    }
    if gift.coupon > Micros::ZERO {
        gifts.push(format!("a coupon of {}", gift.coupon.for_people()));
    }
    gifts.join(", ")
}

pub async fn prices(session: &Session, command: PriceCommand) -> Result<ExitCode, Failure> {
    let PriceCommand::Show { account, product } = command;
    let config = session.config()?;
    let now = session.now();
    if let Some(id) = &product {
        find_product(&config, id)?;
    }
    let of_product = |rate: &&Rate| product.as_deref().is_none_or(|id| *rate.product == *id);
    let holds = |rate: &&Rate| rate.from <= now && rate.until.is_none_or(|until| now < until);
    let listed = config.book.rates.iter().filter(of_product).filter(holds);
    let rates: Vec<&Rate> = match account {
        None => listed.collect(),
        Some(account_id) => {
            let db = session.open(&config).await?;
            let account = accounts::find(&mut db.read().await?, &account_id).await?;
            let buyer: Buyer<'_> = buyer(&account);
            let chosen =
                |rate: &&Rate| config.book.rate(&rate.product, &rate.class, buyer, now) == Some(*rate);
            listed.filter(chosen).collect()
        }
    };
    let json: Vec<Value> = rates.iter().map(|rate| rate_json(rate, &config)).collect();
    session.output.show(&json!(json), || {
        let rows = rates.iter().flat_map(|rate| tiers(rate, &config)).collect();
        table(&["product", "for", "class", "currency", ">units a month", ">price"], rows)
    });
    Ok(ExitCode::SUCCESS)
}

fn scope(rate: &Rate) -> String {
    match &rate.scope {
        Scope::Account(id) => format!("account {id}"),
        Scope::Kind(kind) => kind.to_string(),
        Scope::Everyone => "everyone".into(),
    }
}

fn tiers(rate: &Rate, config: &Config) -> Vec<Vec<String>> {
    let product = config.catalog.get(&rate.product);
    let nothing = match product.map(|product| product.priced_by) {
        Some(PricedBy::TemplateType) => "none",
        _ => "all",
    };
    let row = |tier: &Tier| {
        let span = match tier.up_to {
            Some(bound) => format!("{} to {}", count(tier.over + 1), count(bound)),
            None if tier.over == 0 => "any".into(),
            None => format!("over {}", count(tier.over)),
        };
        let class = if rate.class.is_empty() { nothing } else { &rate.class };
        vec![
            rate.product.to_string(),
            scope(rate),
            class.into(),
            rate.currency.to_string(),
            span,
            tier.price.to_string(),
        ]
    };
    rate.tiers.iter().map(row).collect()
}

fn rate_json(rate: &Rate, config: &Config) -> Value {
    let tier = |tier: &Tier| {
        let price = tier.price.to_string();
        json!({ "over": tier.over, "up_to": tier.up_to, "price": price })
    };
    json!({
        "product": &*rate.product,
        "class": &*rate.class,
        "currency": &*rate.currency,
        "scope": scope(rate),
        "method": match rate.method {
            Method::Graduated => "graduated",
            Method::Volume => "volume",
        },
        "from": (rate.from.0 != i64::MIN).then(|| config.zone.format(rate.from)),
        "until": rate.until.map(|until| config.zone.format(until)),
        "tiers": rate.tiers.iter().map(tier).collect::<Vec<_>>(),
    })
}

fn find_product<'a>(config: &'a Config, id: &str) -> Result<&'a Product, DeskError> {
    config.catalog.get(id).ok_or_else(|| DeskError::unknown_product(&config.catalog, id))
}

pub fn length(session: &Session, args: &LengthArgs) -> Result<ExitCode, Failure> {
    let config = session.config()?;
    let product = find_product(&config, &args.product)?;
    let length = measure(product.length, product.astral, args.signature.as_deref(), &args.text);
    if length.characters > MAX_CHARACTERS {
        let text = format!(
            "the message has {} characters with its signature, at most {MAX_CHARACTERS} may be sent (R106)",
            length.characters
        );
        return Err(DeskError::refused("content_too_long", text).into());
    }
    let json = json!({
        "encoding": length.encoding.as_str(),
        "length": length.units,
        "segments": length.segments,
        "characters": length.characters,
    });
    session.output.show(&json, || {
        let (units, encoding) = (length.units, length.encoding.as_str());
        format!(
            "{units} units in {encoding}: billed as {} message{}",
            length.segments,
            plural(length.segments)
        )
    });
    Ok(ExitCode::SUCCESS)
}

fn plural(count: i64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
