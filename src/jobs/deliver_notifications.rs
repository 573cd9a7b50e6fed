//! Sends notices to people: each at least once, and none twice unless its sender was killed while it sent
//! (R11, R26, R43, R143, F20, F96, F99-F102).
//!
//! ```text
//!  due notices --decide--> deliveries --claim, committed--> workers --answers--> noted, committed
//! ```
//! Only what is claimed is sent, and only so many at a time, so that a run that is cut off leaves few in
//! doubt. A server that is not there is asked three times and then left alone until the next run: a
//! thousand letters don't wait for it one by one, and nothing else waits for them.

mod bill;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::bill::Drawer;
use super::{JobError, Report, Steps};
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::domain::notice::Channel;
use crate::domain::period::Timestamp;
use crate::instance;
use crate::listed::Listed;
use crate::notify::address::masked;
use crate::notify::outlet::{Outlet, Worker};
use crate::notify::{Answer, Parcel};
use crate::store::deliveries::{self, Became, DeliveryRow, Key};
use crate::store::leases::{self, Lease};
use crate::store::{self, StoreError};
use crate::telling;

/// Notices whose ways are decided in one transaction.
const DECIDED: i64 = 500;
/// Deliveries that are claimed at a time, for each that goes out at the same time.
const CLAIMED: i64 = 32;
/// Times in a row that a server may be unreachable before it is left alone for this run.
const UNREACHABLE: usize = 3;
/// How long after the first try the second comes; then twice as long each time, up to an hour.
const FIRST_PAUSE: i64 = Timestamp::MINUTE;
/// How long noting an answer is tried: what was sent must not be forgotten because others write.
const TO_NOTE: Duration = Duration::from_secs(300);

pub async fn run(steps: Steps<'_>) -> Result<Report, JobError> {
    let Some(lease) = steps.lease else { return rehearse(&steps).await };
    let packer = Arc::new(Packer::new(&steps).await?);
    let mut run = Delivering { steps, lease, owner: instance::name(), totals: Totals::default(), packer };
    run.decide().await?;
    for channel in [Channel::Email, Channel::Sms, Channel::Webhook] {
        run.deliver(channel).await?;
    }
    run.report().await
}

/// Sums of a run for its report.
#[derive(Default)]
struct Totals {
    notices: i64,
    outdated: i64,
    sent: i64,
    later: i64,
    failed: i64,
    /// Channels that were shut.
    shut: i64,
}

struct Delivering<'a> {
    steps: Steps<'a>,
    lease: &'a Lease,
    owner: String,
    totals: Totals,
    packer: Arc<Packer>,
}

/// Makes of a delivery what is sent.
struct Packer {
    config: Arc<Config>,
    /// The name of these books.
    books: String,
    drawer: Arc<Drawer>,
}

impl Packer {
    async fn new(steps: &Steps<'_>) -> Result<Packer, StoreError> {
        let mut tx = steps.db.read().await?;
        let books = store::books_name(&mut tx).await?;
        tx.rollback().await?;
        let drawer = Arc::new(Drawer::new(steps.db, steps.config));
        Ok(Packer { config: steps.config.clone(), books, drawer })
    }

    async fn pack(&self, row: &DeliveryRow, now: Timestamp) -> Result<Parcel, Answer> {
        let mut parcel = telling::parcel(&self.config, row, now)?;
        parcel.told.books.clone_from(&self.books);
        self.drawer.attach(parcel, row.key.channel).await
    }
}

/// What is claimed and nobody has begun, and how the server was lately.
#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<DeliveryRow>>,
    /// Times in a row that it could not be reached.
    unreachable: AtomicUsize,
}

impl Queue {
    /// Whether the server is left alone for this run.
    fn is_shut(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed) >= UNREACHABLE
    }

    fn next(&self) -> Option<DeliveryRow> {
        if self.is_shut() { None } else { lock(&self.waiting).pop_front() }
    }

    fn heard(&self, answer: &Answer) {
        match answer {
            Answer::Unreachable(_) => self.unreachable.fetch_add(1, Ordering::Relaxed),
            _ => self.unreachable.swap(0, Ordering::Relaxed),
        };
    }

    fn untouched(&self) -> impl Iterator<Item = Said> {
        let rest = std::mem::take(&mut *lock(&self.waiting));
        rest.into_iter().map(|row| (Box::new(row), None))
    }
}

/// What a worker says of a delivery; None where it was not begun.
type Said = (Box<DeliveryRow>, Option<Answer>);

impl Delivering<'_> {
    /// Decides the ways of all notices that are due.
    async fn decide(&mut self) -> Result<(), JobError> {
        let now = self.steps.as_of;
        // An idle run writes nothing.
        let mut is_any = self.is_any_undecided().await?;
        while is_any && !self.steps.should_stop() {
            let mut tx = self.steps.db.write().await?;
            leases::renew(&mut tx, self.lease).await?;
            let new = deliveries::undecided(&mut tx, now, DECIDED).await?;
            is_any = !new.is_empty();
            let decided: Vec<_> =
                new.iter().map(|new| (&new.notice, telling::ways(self.steps.config, new, now))).collect();
            deliveries::decide(&mut tx, &decided, now).await?;
            tx.commit().await?;
            self.totals.notices += decided.len() as i64;
            self.totals.outdated +=
                decided.iter().flat_map(|(_, ways)| ways).filter(|way| way.outdated).count() as i64;
        }
        Ok(())
    }

    async fn is_any_undecided(&self) -> Result<bool, StoreError> {
        let mut tx = self.steps.db.read().await?;
        let is_any = deliveries::is_any_undecided(&mut tx, self.steps.as_of).await?;
        tx.rollback().await?;
        Ok(is_any)
    }

    /// Sends what waits for a channel.
    async fn deliver(&mut self, channel: Channel) -> Result<(), JobError> {
        if !self.is_wanted(channel).await? {
            return Ok(());
        }
        let outlet = match Outlet::open(self.steps.config, channel) {
            Ok(Some(outlet)) => outlet,
            Ok(None) => return Ok(()),
            Err(why) => {
                tracing::error!("Nothing is sent by {}: {why}", channel.as_str());
                self.totals.shut += 1;
                return Ok(());
            }
        };
        let mut workers: Vec<Worker> =
            (0..outlet.width()).map(|_| outlet.worker(self.steps.config, self.steps.as_of)).collect();
        let queue = Arc::new(Queue::default());
        // A worker that panicked is gone; without any nothing more is claimed.
        while !workers.is_empty() && !queue.is_shut() && !self.steps.should_stop() {
            let portion = self.claim(channel, CLAIMED * outlet.width() as i64).await?;
            if portion.is_empty() {
                break;
            }
            lock(&queue.waiting).extend(portion);
            workers = self.send(&queue, workers).await?;
        }
        self.totals.shut += i64::from(queue.is_shut() || workers.is_empty());
        for worker in workers {
            worker.close().await;
        }
        Ok(())
    }

    /// Whether anything is to go out by a channel, and from here.
    async fn is_wanted(&mut self, channel: Channel) -> Result<bool, JobError> {
        let now = self.steps.as_of;
        let mut tx = self.steps.db.read().await?;
        let is_any = deliveries::is_any(&mut tx, channel, now).await?;
        tx.rollback().await?;
        if !is_any || !self.steps.config.notices.has(channel) {
            return Ok(false);
        }
        let mut tx = self.steps.db.write().await?;
        leases::renew(&mut tx, self.lease).await?;
        deliveries::take_over(&mut tx, now).await?;
        let wanted = !deliveries::waiting(&mut tx, channel, now, 1).await?.is_empty();
        if wanted {
            let here = deliveries::place(&mut tx).await?;
            if !deliveries::is_at_home(&mut tx, &here, now).await? {
                let before = deliveries::places(&mut tx).await?.join("; ");
                return Err(JobError::Copied { here: here.words, before });
            }
        }
        tx.commit().await?;
        Ok(wanted)
    }

    async fn claim(&self, channel: Channel, limit: i64) -> Result<Vec<DeliveryRow>, StoreError> {
        let mut tx = self.steps.db.write().await?;
        let now = self.steps.as_of;
        let portion = deliveries::claim(&mut tx, self.lease, &self.owner, channel, now, limit).await?;
        tx.commit().await?;
        Ok(portion)
    }

    /// Sends a claimed portion, notes each answer as it comes, and gives the workers back.
    async fn send(&mut self, queue: &Arc<Queue>, workers: Vec<Worker>) -> Result<Vec<Worker>, JobError> {
        let (sender, mut answers) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for worker in workers {
            tasks.spawn(work(worker, self.packer.clone(), queue.clone(), sender.clone()));
        }
        drop(sender);
        while let Some(first) = answers.recv().await {
            let mut ready: Vec<Said> = vec![first];
            while let Ok(next) = answers.try_recv() {
                ready.push(next);
            }
            if self.steps.should_stop() {
                ready.extend(queue.untouched());
            }
            self.note(ready).await?;
        }
        // What nobody has begun goes back as it was.
        self.note(queue.untouched().collect()).await?;
        let mut workers = Vec::new();
        while let Some(done) = tasks.join_next().await {
            workers.extend(done.ok());
        }
        Ok(workers)
    }

    async fn note(&mut self, said: Vec<Said>) -> Result<(), JobError> {
        if said.is_empty() {
            return Ok(());
        }
        let now = self.steps.as_of;
        let mut became = Vec::new();
        for (row, answer) in said {
            let became_of = match answer {
                None => Became::Untouched,
                Some(answer) => self.judge(&row, answer),
            };
            became.push((row.key, became_of));
        }
        note_patiently(&self.steps, &self.owner, &became, now).await
    }

    /// What an answer means for a delivery, and for the report.
    fn judge(&mut self, row: &DeliveryRow, answer: Answer) -> Became {
        let now = self.steps.as_of;
        let error = match answer {
            Answer::Sent { units } => {
                self.totals.sent += 1;
                return Became::Sent { units };
            }
            Answer::Never(error) => {
                self.totals.failed += 1;
                tracing::error!("{} failed: {error}", shown(&row.key));
                return Became::Failed { error };
            }
            Answer::TooLate(error) => {
                self.totals.outdated += 1;
                return Became::Outdated { error };
            }
            Answer::Later(error) | Answer::Unreachable(error) => error,
        };
        self.totals.later += 1;
        let at = now.plus_micros(pause(row.attempts));
        tracing::warn!(
            "{} waits until {}: {error}",
            shown(&row.key),
            self.steps.config.zone.format_short(at)
        );
        Became::Later { at, error }
    }

    async fn report(self) -> Result<Report, JobError> {
        let totals = &self.totals;
        Ok(Report {
            worked: totals.notices + totals.sent + totals.later + totals.failed > 0,
            left_waiting: totals.failed + totals.shut > 0,
            counts: vec![
                ("notices", totals.notices),
                ("outdated", totals.outdated),
                ("sent", totals.sent),
                ("later", totals.later),
                ("failed", totals.failed),
                ("shut", totals.shut),
            ],
            ..Report::default()
        })
    }
}

/// Notes answers, however long others write: what was sent and not noted would be sent again.
async fn note_patiently(
    steps: &Steps<'_>,
    owner: &str,
    became: &[(Key, Became)],
    now: Timestamp,
) -> Result<(), JobError> {
    let began = Stopwatch::start();
    loop {
        let noted = async {
            let mut tx = steps.db.write().await?;
            deliveries::note(&mut tx, owner, became, now).await?;
            tx.commit().await
        };
        match noted.await {
            Err(error) if error.is_transient() && began.elapsed() < TO_NOTE => {
                tracing::debug!("Noting what was sent is tried again: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            noted => return Ok(noted?),
        }
    }
}

/// Takes deliveries until none is left, and gives the worker back.
async fn work(
    mut worker: Worker,
    packer: Arc<Packer>,
    queue: Arc<Queue>,
    answers: mpsc::UnboundedSender<Said>,
) -> Worker {
    loop {
        let Some(row) = queue.next() else { return worker };
        let answer = match packer.pack(&row, worker.now()).await {
            Ok(parcel) => {
                let answer = worker.send(parcel).await;
                queue.heard(&answer);
                answer
            }
            Err(unsent) => unsent,
        };
        if answers.send((Box::new(row), Some(answer))).is_err() {
            return worker;
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A queue that a panic left behind still holds whole deliveries, and a printer its fonts.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long to wait after so many tries.
fn pause(attempts: i64) -> i64 {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(6);
    (FIRST_PAUSE << doublings).min(Timestamp::HOUR)
}

/// A delivery in the words of the log: no address.
fn shown(key: &Key) -> String {
    let whom = match (key.account_id.as_str(), key.target.as_str()) {
        ("", "") => "the operator".to_owned(),
        ("", target) => masked(target),
        (account, _) => account.to_owned(),
    };
    format!("Notice {} to {whom} by {}", key.notice_no, key.channel.as_str())
}

/// What would be sent.
async fn rehearse(steps: &Steps<'_>) -> Result<Report, JobError> {
    let now = steps.as_of;
    let mut tx = steps.db.read().await?;
    let mut effects = Listed::default();
    for new in deliveries::undecided(&mut tx, now, i64::MAX).await? {
        let ways = telling::ways(steps.config, &new, now);
        for way in ways.into_iter().filter(|way| !way.outdated) {
            let key = Key {
                account_id: new.notice.account_id.clone(),
                notice_no: new.notice.notice_no,
                channel: way.channel,
                target: way.target,
            };
            effects.push(|| format!("{}: {}", shown(&key), new.notice.kind.as_str()));
        }
    }
    for channel in [Channel::Email, Channel::Sms, Channel::Webhook] {
        for row in deliveries::waiting(&mut tx, channel, now, i64::MAX).await? {
            effects.push(|| format!("{}: {}", shown(&row.key), row.notice.kind.as_str()));
        }
    }
    tx.rollback().await?;
    let counts = vec![("sent", effects.count())];
    Ok(Report { worked: !effects.is_empty(), counts, effects, ..Report::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let minutes: Vec<i64> = (1..=9).map(|tries| pause(tries) / Timestamp::MINUTE).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
