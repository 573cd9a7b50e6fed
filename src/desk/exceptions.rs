//! What waits for somebody to decide, and what they decide (D15, D18, D47, D67, D77, D81).
//!
//! An approval gives back as a run of settle-receipts does, by the same rules and in one transaction;
//! only that a charge is final already does not stop it. A dismissal moves no money.

use super::DeskError;
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::domain::charge::{Place, Unrated};
use crate::domain::period::Timestamp;
use crate::domain::product::ChargeOn;
use crate::instance;
use crate::settling::{Answered, Claim, GivingBack};
use crate::store::exceptions::{self, Closed, ExceptionRow, OpenLine};
use crate::store::failures::{self, Answer, Answers, FailedMessage, Matched, OpenFailure, Which};
use crate::store::returns::{self, ReturnRow};
use crate::store::runs::{self, NewRun};
use crate::store::scope::Scope;
use crate::store::settling::ExceptionKind;
use crate::store::status::{self, ParkedAccount, SuspenseRow};
use crate::store::{Db, StoreError, Tx, leases};

/// Something that waits for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What `exception approve` and `exception dismiss` call it; None where neither resolves it.
    pub id: Option<String>,
    /// A kind of exception, `suspense`, `parked_account`, `rejected_line` or `conflict_line`.
    pub kind: String,
    pub account_id: Option<String>,
    pub message_id: Option<String>,
    /// Of a receipt for a part of a message.
    pub part: Option<i64>,
    pub place: Option<Place>,
    pub opened_at: Option<Timestamp>,
    pub detail: String,
    pub closed: Option<Closed>,
    /// What resolves it; empty once it is closed.
    pub remedy: String,
}

/// All that waits: exceptions (with `all` the closed ones, too), messages in suspense, parked accounts,
/// lines that were not taken. Of each sort the oldest, up to `limit`.
pub async fn list(tx: &mut Tx, all: bool, limit: i64) -> Result<Waiting, StoreError> {
    let mut waiting = Waiting::default();
    // One more of each tells whether there are more.
    let asked = limit.saturating_add(1);
    waiting.add(exceptions::list(tx, all, asked).await?, limit);
    waiting.add(status::parked_accounts(tx, &Scope::All, asked).await?, limit);
    let mut suspense = status::suspense(tx, asked).await?;
    waiting.has_more |= suspense.len() as i64 > limit;
    suspense.retain(|row| row.reason != Unrated::AccountParked.as_str());
    waiting.add(suspense, limit);
    waiting.add(exceptions::open_lines(tx, None, asked).await?, limit);
    Ok(waiting)
}

/// What waits, and whether there is more of a sort than was asked for.
#[derive(Debug, Default)]
pub struct Waiting {
    pub items: Vec<Item>,
    pub has_more: bool,
}

impl Waiting {
    fn add<T: Into<Item>>(&mut self, of_a_sort: Vec<T>, limit: i64) {
        self.has_more |= of_a_sort.len() as i64 > limit;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.items.extend(of_a_sort.into_iter().take(limit).map(T::into));
    }
}

impl From<ExceptionRow> for Item {
    fn from(row: ExceptionRow) -> Item {
        let number = row.exception_no;
        let remedy = match (ExceptionKind::parse(&row.kind), &row.closed) {
            (_, Some(_)) => String::new(),
            _ if row.gives_nothing || !row.may_give_back() => {
                format!("quittance exception dismiss {number} --reason T")
            }
            (Some(ExceptionKind::AmbiguousAccount), None) => {
                let which = if row.account_id.is_empty() { "--account A" } else { "--message ID" };
                format!("quittance exception approve {number} {which} --reason T, or dismiss {number}")
            }
            (Some(ExceptionKind::NoPrice), None) => {
                format!(
                    "add a price, then quittance exception approve {number} --reason T, or dismiss {number}"
                )
            }
            _ => format!("quittance exception approve {number} --reason T, or dismiss {number}"),
        };
        let names_no_message = row.status.is_empty();
        Item {
            id: Some(number.to_string()),
            kind: row.kind,
            account_id: Some(row.account_id).filter(|id| !id.is_empty()),
            message_id: Some(row.message_id).filter(|_| !names_no_message),
            part: Some(row.part).filter(|part| *part > 0),
            place: Some(row.place),
            opened_at: Some(row.opened_at),
            detail: row.detail,
            closed: row.closed,
            remedy,
        }
    }
}

impl From<SuspenseRow> for Item {
    fn from(row: SuspenseRow) -> Item {
        Item {
            id: None,
            kind: "suspense".into(),
            account_id: Some(row.account_id),
            message_id: Some(row.message_id),
            part: None,
            place: Some(Place { batch_no: row.batch_no, line: row.line }),
            opened_at: Some(row.since),
            remedy: Unrated::parse(&row.reason).map_or("", |reason| reason.remedy()).into(),
            detail: row.reason,
            closed: None,
        }
    }
}

impl From<OpenLine> for Item {
    fn from(line: OpenLine) -> Item {
        let Place { batch_no, line: number } = line.place;
        let dismiss = format!("quittance exception dismiss {batch_no}:{number} --reason T");
        let remedy = match &*line.verdict {
            "rejected" => format!("quittance batch retry {batch_no} once the reason is gone, or {dismiss}"),
            _ => dismiss,
        };
        Item {
            id: Some(format!("{batch_no}:{number}")),
            kind: format!("{}_line", line.verdict),
            account_id: None,
            message_id: None,
            part: None,
            place: Some(line.place),
            opened_at: Some(line.since),
            detail: format!("{}: {}", line.reason, line.detail),
            closed: None,
            remedy,
        }
    }
}

impl From<ParkedAccount> for Item {
    fn from(parked: ParkedAccount) -> Item {
        Item {
            id: None,
            kind: "parked_account".into(),
            detail: parked.words(),
            account_id: Some(parked.account_id),
            message_id: None,
            part: None,
            place: None,
            opened_at: None,
            closed: None,
            remedy: Unrated::AccountParked.remedy().into(),
        }
    }
}

/// An exception that was approved, and what it gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    pub exception: ExceptionRow,
    pub returns: Vec<ReturnRow>,
}

/// Lets the failure of an exception count, as of now, though no rule lets it. `which` says what message it is
/// where the receipt does not.
pub async fn approve(
    db: &Db,
    config: &Config,
    id: &str,
    reason: &str,
    which: Which<'_>,
    now: Timestamp,
) -> Result<Approved, DeskError> {
    check_reason(reason)?;
    let word = Word { number: number(id)?, reason, which, now };
    let mut tx = db.write().await?;
    match approve_in(&mut tx, config, &word).await {
        Ok(approved) => {
            tx.commit().await?;
            Ok(approved)
        }
        // At once, not when the connection is next looked at: nobody shall meet its locks. Where the
        // connection is lost they are gone.
        Err(error) => {
            tx.rollback().await.ok();
            Err(error)
        }
    }
}

/// What an operator says of an exception.
struct Word<'a> {
    number: i64,
    reason: &'a str,
    which: Which<'a>,
    now: Timestamp,
}

async fn approve_in(tx: &mut Tx, config: &Config, word: &Word<'_>) -> Result<Approved, DeskError> {
    let (stopwatch, now) = (Stopwatch::start(), word.now);
    // What is final must not change while it is given back.
    leases::ensure_free(tx, "settle-receipts").await?;
    let exception = lock(tx, word.number).await?;
    let owner = instance::name();
    let record = NewRun {
        job: "exception",
        token: 0,
        owner: instance::short(&owner),
        as_of: now,
        started_at: now,
        slot: None,
        attempt: 1,
    };
    let run_no = runs::begin(tx, &record).await?;
    let claimed = claimed(tx, config, &exception, word.which).await?;
    give_back(tx, config, &claimed, run_no, now).await?;
    let closed = Closed { at: now, resolution: "approved".into(), reason: word.reason.to_owned() };
    exceptions::close(tx, exception.exception_no, &closed, Some(run_no)).await?;
    let returns = returns::of_run(tx, run_no).await?;
    let counts = serde_json::json!({ "returned": 1 }).to_string();
    runs::finish(tx, run_no, "done", &counts, stopwatch.elapsed_ms(), None).await?;
    Ok(Approved { exception: ExceptionRow { closed: Some(closed), ..exception }, returns })
}

/// Closes an exception, or a line `BATCH:LINE` that was not taken; no money moves.
pub async fn dismiss(db: &Db, id: &str, reason: &str, now: Timestamp) -> Result<ExceptionRow, DeskError> {
    check_reason(reason)?;
    let closed = Closed { at: now, resolution: "dismissed".into(), reason: reason.to_owned() };
    let mut tx = db.write().await?;
    let exception = match place(id) {
        Some(place) => {
            // So that of two who dismiss it at once one waits.
            crate::store::batches::lock(&mut tx, place.batch_no).await?;
            let lines = exceptions::open_lines(&mut tx, Some(place), 1).await?;
            let line = lines.first().ok_or_else(|| unknown(id))?;
            exceptions::dismiss_line(&mut tx, line, &closed).await?
        }
        None => {
            let exception = lock(&mut tx, number(id)?).await?;
            exceptions::close(&mut tx, exception.exception_no, &closed, None).await?;
            ExceptionRow { closed: Some(closed), ..exception }
        }
    };
    tx.commit().await?;
    Ok(exception)
}

fn check_reason(reason: &str) -> Result<(), DeskError> {
    if !reason.trim().is_empty() && reason.chars().count() <= 500 && !reason.chars().any(char::is_control) {
        return Ok(());
    }
    Err(DeskError::refused("bad_reason", "a reason has 1 to 500 characters, no line breaks among them"))
}

fn number(id: &str) -> Result<i64, DeskError> {
    if let Some(place) = place(id) {
        let text = format!(
            "`{id}` is a line that was not taken: once its cause is mended run `quittance batch retry {}`, or dismiss it",
            place.batch_no
        );
        return Err(DeskError::refused("no_failure", text));
    }
    id.parse().map_err(|_| unknown(id))
}

/// Reads `BATCH:LINE`.
fn place(id: &str) -> Option<Place> {
    let (batch, line) = id.split_once(':')?;
    Some(Place { batch_no: batch.parse().ok()?, line: line.parse().ok()? })
}

fn unknown(id: &str) -> DeskError {
    let message = format!("there is no open exception `{id}`; see `quittance exception list`");
    DeskError::refused("unknown_exception", message)
}

async fn lock(tx: &mut Tx, number: i64) -> Result<ExceptionRow, DeskError> {
    let found = exceptions::lock(tx, number).await?;
    let exception = found.ok_or_else(|| unknown(&number.to_string()))?;
    match &exception.closed {
        None => Ok(exception),
        Some(closed) => {
            let message = format!("exception {number} was {}: {}", closed.resolution, closed.reason);
            Err(DeskError::refused("already_closed", message))
        }
    }
}

/// A failure that an operator lets count.
struct Claimed {
    failure: OpenFailure,
    message: FailedMessage,
    charge_run: i64,
}

/// Whether the failure of an exception can be given back at all.
async fn claimed(
    tx: &mut Tx,
    config: &Config,
    exception: &ExceptionRow,
    which: Which<'_>,
) -> Result<Claimed, DeskError> {
    let number = exception.exception_no;
    if exception.status == "delivered" {
        let message = format!(
            "a message that failed first and was delivered then stays given back: nothing is taken back (D15); \
             dismiss exception {number}"
        );
        return Err(DeskError::refused("nothing_taken_back", message));
    }
    if !exception.may_give_back() {
        let message =
            format!("no failure waits here that could give something back; dismiss exception {number}");
        return Err(DeskError::refused("no_failure", message));
    }
    let receipt = &exception.receipt;
    let whose = match &*receipt.account_id {
        "" => which.account_id.unwrap_or_default(),
        account_id => account_id,
    };
    if failures::any_waits(tx, whose, receipt.key).await? {
        let message =
            "another failure of this message waits for the next settle-receipts run; try again after it";
        return Err(DeskError::refused("not_settled_yet", message));
    }
    failures::accept_conflict(tx, receipt).await?;
    let failure = failures::find(tx, receipt, which).await?;
    let failure = failure.ok_or_else(|| StoreError::Corrupt(format!("exception {number} has no receipt")))?;
    let message = match &failure.message {
        Matched::One(message) => message.clone(),
        Matched::Unknown => {
            let whose = which.account_id.map_or(String::new(), |account| format!(" of account `{account}`"));
            let id = which.message_id.unwrap_or(&exception.message_id);
            let message = format!("no message `{id}`{whose} has come; ingest it first");
            return Err(DeskError::refused("no_message", message));
        }
        Matched::Ambiguous => {
            let message = "several messages answer to this receipt: say whose it is with --account, or, where one \
                           account has them all, which with --message";
            return Err(DeskError::refused("account_needed", message));
        }
    };
    let charge_run = charge_run(config, &failure, &message)?;
    Ok(Claimed { failure, message, charge_run })
}

/// The run that charged the message, where the failure is one that can give it back.
fn charge_run(config: &Config, failure: &OpenFailure, message: &FailedMessage) -> Result<i64, DeskError> {
    let never_charged = matches!(message.disposition.as_deref(), Some("rejected" | "inbound"));
    let product = config.catalog.get(&message.product);
    let on_submission = product.is_some_and(|product| product.charge_on == ChargeOn::Submission);
    let part = failure.id.part;
    match message.charged_by {
        _ if never_charged => {
            let text = "it was never charged: there is nothing to give back";
            Err(DeskError::refused("not_charged", text))
        }
        _ if on_submission => {
            let text = "it is charged on submission, delivered or not: there is nothing to give back (R87)";
            Err(DeskError::refused("charged_on_submission", text))
        }
        None => {
            let text = "its message waits to be charged; run `quittance --run-job aggregate-charges` first";
            Err(DeskError::refused("not_charged_yet", text))
        }
        Some(_) if !failure.reported_in_time(message) => {
            let text = "the carrier reported it more than 72 hours after submission (D14)";
            Err(DeskError::refused("reported_too_late", text))
        }
        Some(_) if part > message.units => {
            let text = format!("part {part} failed, and {} were charged: whose part is it?", message.units);
            Err(DeskError::refused("part_out_of_range", text))
        }
        Some(run_no) => Ok(run_no),
    }
}

/// Gives back what failed and marks the failure answered.
async fn give_back(
    tx: &mut Tx,
    config: &Config,
    claimed: &Claimed,
    run_no: i64,
    now: Timestamp,
) -> Result<(), DeskError> {
    let Claimed { failure, message, charge_run } = claimed;
    let mut giving_back = GivingBack::begin(tx, config, run_no, now).await?;
    let claim = Claim::new(message, *charge_run, failure.id.part, now);
    let answers = giving_back.settle(tx, &[(&message.account_id, vec![claim])]).await?;
    match answers.into_iter().next() {
        Some(Ok(answered)) => match answered.first() {
            Some(Answered::GivenBack(_)) => {}
            Some(Answered::NoPrice) => {
                let text = "money is called for and no price is known; add one to prices.toml for its product, \
                            currency and template type or country";
                return Err(DeskError::refused("no_price", text));
            }
            Some(Answered::Before) | None => {
                let text = "another receipt gave it back before, or it was not charged for one";
                return Err(DeskError::refused("already_returned", text));
            }
        },
        Some(Err(fault)) => return Err(DeskError::refused("account_parked", fault)),
        None => return Err(DeskError::refused("account_parked", "the account is gone")),
    }
    giving_back.finish(tx).await?;
    let mut answers = Answers::new(tx, run_no);
    answers.push(failure.place, Answer::Returned);
    answers.finish(tx, now).await?;
    Ok(())
}
