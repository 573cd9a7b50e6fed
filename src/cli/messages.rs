//! `message list`: the delivery receipts of an account.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{count, table};
use super::{Failure, Session};
use crate::desk::DeskError;
use crate::desk::messages::{Listed, Period, Wanted, list};
use crate::domain::period::{Day, Month, Zone};
use crate::store::usage::{Counts, ListedMessage, Status};

#[derive(Debug, Subcommand)]
pub enum MessageCommand {
    /// Delivery receipts: each message with what became of it, what it adds to `usage`, and what of it is billed
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    account: String,
    #[command(flatten)]
    period: PeriodArgs,
    /// Only messages of this product
    #[arg(long)]
    product: Option<String>,
    /// Only messages of which a unit is: delivered, failed, unknown, pending; or that are: partial, rejected, inbound
    #[arg(long)]
    status: Option<Status>,
    /// At most so many, the first ones; 0 or `all`: every one
    #[arg(long, value_name = "N", default_value = "100")]
    limit: Limit,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct PeriodArgs {
    /// The day of submission, in the billing zone
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<Day>,
    /// The month of submission, in the billing zone
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<Month>,
}

/// How many messages are shown; None: all.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<u32>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        match text {
            "0" | "all" => Ok(Limit(None)),
            number => {
                let number = number.parse();
                number.map(|n| Limit(Some(n))).map_err(|_| "write a whole number, or `all`".into())
            }
        }
    }
}

pub async fn run(session: &Session, command: MessageCommand) -> Result<ExitCode, Failure> {
    let MessageCommand::List(args) = command;
    let period = match (args.period.day, args.period.month) {
        (Some(day), _) => Period::Day(day),
        (None, Some(month)) => Period::Month(month),
        (None, None) => return Err(Failure::usage("name a --day or a --month")),
    };
    let config = session.config()?;
    let db = session.open(&config).await?;
    let wanted = Wanted {
        account_id: &args.account,
        period,
        product: args.product.as_deref(),
        status: args.status,
        limit: args.limit.0,
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
    let listed = if session.output.json {
        let mut sheet = JsonList { out: &mut out, zone: config.zone, messages: 0 };
        let listed = list(&db, &config, wanted, session.now(), |message| sheet.add(message)).await;
        let listed = listed.and_then(|listed| sheet.end().map(|()| listed).map_err(unwritten));
        listed.map(|listed| session.output.tell_of_more(listed.has_more))
    } else {
        let mut sheet = Table::new(&mut out, config.zone);
        let listed = list(&db, &config, wanted, session.now(), |message| sheet.add(message)).await;
        listed.and_then(|listed| sheet.end(&wanted, listed).map_err(unwritten))
    };
    db.close().await;
    match listed.and_then(|()| out.flush().map_err(unwritten)) {
        // A reader that went away (`| head`) is no fault of ours.
        Err(DeskError::Write(_, error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        listed => Ok(listed.map(|()| ExitCode::SUCCESS)?),
    }
}

fn unwritten(error: io::Error) -> DeskError {
    DeskError::Write("the list".into(), error)
}

/// One list of objects, written as they come.
struct JsonList<'a> {
    out: &'a mut dyn Write,
    zone: Zone,
    messages: u64,
}

impl JsonList<'_> {
    fn add(&mut self, message: &ListedMessage) -> io::Result<()> {
        let before = if self.messages == 0 { "[" } else { ",\n" };
        self.messages += 1;
        write!(self.out, "{before}{}", message_json(message, self.zone))
    }

    fn end(self) -> io::Result<()> {
        let before = if self.messages == 0 { "[" } else { "" };
        writeln!(self.out, "{before}]")
    }
}

/// The keys that scripts read: the counts are those of `usage`.
fn message_json(message: &ListedMessage, zone: Zone) -> Value {
    let counts = &message.counts;
    let named = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
    json!({
        "submit_time": zone.format(message.submit_time),
        "message_id": message.message_id,
        "product": message.product,
        "country": named(&message.country),
        "template_type": named(&message.template_type),
        "status": message.status.as_str(),
        "reject_code": message.reject_code,
        "sent": counts.submitted,
        "delivered": counts.delivered,
        "failed": counts.failed,
        "unknown": counts.unknown,
        "pending": counts.pending(),
        "free": counts.free + counts.allowance,
        "billed": counts.billed,
        "report_time": message.report_time.map(|time| zone.format(time)),
        "included": message.is_included,
    })
}

/// Messages of one table, which all stand in memory: the next ones get a table of their own.
const PAGE: usize = 1_000;

/// A table for each day, or where a day has many messages for each page of it.
struct Table<'a> {
    out: &'a mut dyn Write,
    zone: Zone,
    day: Option<Day>,
    page: Vec<Vec<String>>,
    total: Counts,
    not_included: i64,
}

impl Table<'_> {
    fn new(out: &mut dyn Write, zone: Zone) -> Table<'_> {
        Table { out, zone, day: None, page: Vec::new(), total: Counts::default(), not_included: 0 }
    }

    fn add(&mut self, message: &ListedMessage) -> io::Result<()> {
        let day = self.zone.day_of(message.submit_time);
        if self.day != Some(day) || self.page.len() == PAGE {
            self.turn()?;
            self.day = Some(day);
        }
        self.total.add(&message.counts);
        self.not_included += i64::from(!message.is_included);
        let status = match &message.reject_code {
            Some(code) => format!("{} {code}", message.status.as_str()),
            None => message.status.as_str().to_owned(),
        };
        self.page.push(vec![
            self.zone.local(message.submit_time).format("%H:%M:%S").to_string(),
            message.message_id.clone(),
            message.product.clone(),
            message.country.clone(),
            status,
            count(message.counts.submitted),
            count(message.counts.billed),
            if message.is_included { "yes" } else { "no" }.to_owned(),
        ]);
        Ok(())
    }

    /// Writes the page.
    fn turn(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.page);
        let Some(day) = self.day.filter(|_| !rows.is_empty()) else { return Ok(()) };
        let columns = ["time", "message", "product", "to", "status", ">sent", ">billed", "included"];
        writeln!(self.out, "{day}\n{}\n", table(&columns, rows))
    }

    fn end(mut self, wanted: &Wanted<'_>, listed: Listed) -> io::Result<()> {
        self.turn()?;
        let Wanted { account_id, period, .. } = wanted;
        if listed.messages == 0 {
            let such =
                if wanted.product.or(wanted.status.map(Status::as_str)).is_some() { " such" } else { "" };
            return writeln!(self.out, "Account {account_id} has no{such} messages of {period}.");
        }
        let messages = match listed.messages {
            1 => "1 message".to_owned(),
            many => format!("{} messages", count(i64::try_from(many).unwrap_or(i64::MAX))),
        };
        let Counts { submitted, billed, .. } = self.total;
        let mut end = format!("{messages}: {} sent, {} billed", count(submitted), count(billed));
        if self.not_included > 0 {
            end += &format!("; {} not included in usage statistics", count(self.not_included));
        }
        if listed.has_more {
            end += ".\nThere are more; `--limit all` shows every one";
        }
        writeln!(self.out, "{end}.")
    }
}
