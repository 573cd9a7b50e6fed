//! The daemon: runs each job when it is due, until it is told to stop.
//!
//! ```text
//!  tick (each second) --> planner: what is due, says the database --> runs, one at a time a job
//!  SIGHUP: prices and schedules anew     SIGTERM: no new runs; finish or roll back within 30 s
//! ```
//! The scheduler only ticks. What is due, what was missed and who runs it is in the database, so
//! several daemons, one-shot runs and restarts add up to the same.

mod http;
mod metrics;
mod systemd;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_cron_scheduler::{Job as Tick, JobScheduler, JobSchedulerError};

use self::metrics::Metrics;
use crate::clock;
use crate::config::{Config, ConfigError};
use crate::domain::period::Timestamp;
use crate::jobs::{self, Job, JobError};
use crate::progress::Silent;
use crate::runner::due::due;
use crate::runner::{self, Finished, Options, Outcome, backoff, describe};
use crate::store::runs::Slot;
use crate::store::{self, Db, StoreError, runs};

/// What the daemon is given.
pub struct Setup {
    pub db: Db,
    pub config: Arc<Config>,
    /// Reads the configuration again.
    pub reload: Box<dyn Fn() -> Result<Config, ConfigError> + Send>,
    /// Takes a larger jump in time for real in the first run of each job (D44).
    pub catch_up: bool,
}

/// Why the daemon ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("signals can't be waited for")]
    Signals(#[from] std::io::Error),
    #[error("the ticker could not be started")]
    Ticker(#[from] JobSchedulerError),
    #[error("the ticker fell silent")]
    Silence,
}

/// After a request to stop, how long runs may go on, and how long they may take to be rolled back.
/// With what follows less than the 30 seconds that are promised.
const TO_FINISH: Duration = Duration::from_secs(20);
const TO_ROLL_BACK: Duration = Duration::from_secs(8);
/// How long the connections may take to be closed at the end.
const TO_CLOSE: Duration = Duration::from_secs(1);
/// When to look again at a job that somebody else runs.
const LOOK_AGAIN: i64 = 2_000_000;
/// How long the database may take to say what is due, before it is asked again.
const TO_ANSWER: Duration = Duration::from_secs(10);
/// The ticker goes by the wall clock: where that is set back it waits until the old time comes again.
const WITHOUT_TICKS: Duration = Duration::from_secs(3);

/// Runs until SIGTERM or SIGINT.
pub async fn run(setup: Setup) -> Result<(), DaemonError> {
    let mut signals = Signals {
        reload: signal(SignalKind::hangup())?,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let (mut ticker, mut ticks) = start_ticker().await?;
    let (cut, _) = watch::channel(false);
    let (stop, _) = watch::channel(false);
    let mut daemon = Daemon {
        shown: Arc::new(Shown {
            db: setup.db.clone(),
            config: RwLock::new(setup.config.clone()),
            metrics: Metrics::default(),
        }),
        db: setup.db,
        config: setup.config,
        reload: setup.reload,
        jobs: jobs::ALL.iter().map(|job| JobState::new(job, setup.catch_up)).collect(),
        runs: JoinSet::new(),
        running: HashMap::new(),
        cut,
        stop,
    };
    daemon.register_jobs().await?;
    let http = http::start(&daemon.config, daemon.shown.clone()).await;
    systemd::ready();
    tracing::info!("Quittance {} runs {} jobs", env!("CARGO_PKG_VERSION"), daemon.config.schedules.len());
    let ended = daemon.serve(&mut signals, &mut ticks).await;
    systemd::stopping();
    daemon.drain(&mut signals).await;
    if let Some(http) = http {
        http.abort();
    }
    let _ = ticker.shutdown().await;
    if tokio::time::timeout(TO_CLOSE, daemon.db.close()).await.is_err() {
        tracing::warn!("The connections did not close in time; the database does it");
    }
    tracing::info!("Stopped");
    ended
}

/// Ticks each second, as long as somebody listens.
async fn start_ticker() -> Result<(JobScheduler, mpsc::Receiver<()>), JobSchedulerError> {
    let (sender, receiver) = mpsc::channel(1);
    let ticker = JobScheduler::new().await?;
    let tick = Tick::new_async("* * * * * *", move |_, _| {
        // A tick that finds one waiting is not needed.
        let _ = sender.try_send(());
        Box::pin(async {})
    })?;
    ticker.add(tick).await?;
    ticker.start().await?;
    Ok((ticker, receiver))
}

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What the HTTP port shows.
struct Shown {
    db: Db,
    config: RwLock<Arc<Config>>,
    metrics: Metrics,
}

impl Shown {
    fn config(&self) -> Arc<Config> {
        // A lock that a panic left behind still holds a whole configuration.
        self.config.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

struct Daemon {
    db: Db,
    config: Arc<Config>,
    reload: Box<dyn Fn() -> Result<Config, ConfigError> + Send>,
    jobs: Vec<JobState>,
    runs: JoinSet<Result<Finished, JobError>>,
    running: HashMap<Id, usize>,
    cut: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    shown: Arc<Shown>,
}

/// What the daemon remembers of a job. All of it may be forgotten: the database knows better.
struct JobState {
    job: &'static Job,
    running: bool,
    looked_at: Timestamp,
    look_at: Timestamp,
    failures: i64,
    catch_up: bool,
}

impl JobState {
    fn new(job: &'static Job, catch_up: bool) -> JobState {
        let never = Timestamp::default();
        JobState { job, running: false, looked_at: never, look_at: never, failures: 0, catch_up }
    }

    /// Whether to ask the database about it. A clock that was set back is no reason to wait for the
    /// time it showed before.
    fn wants_a_look(&self, now: Timestamp) -> bool {
        !self.running && (now >= self.look_at || self.saw_later(now))
    }

    /// Whether the clock was set back since.
    fn saw_later(&self, now: Timestamp) -> bool {
        now < self.looked_at
    }
}

impl Daemon {
    /// Notes since when slots are looked after: those before are nobody's.
    async fn register_jobs(&self) -> Result<(), StoreError> {
        let mut tx = self.db.write().await?;
        for job in jobs::ALL {
            runs::known_since(&mut tx, job.name, clock::now()).await?;
        }
        tx.commit().await
    }

    async fn serve(
        &mut self,
        signals: &mut Signals,
        ticks: &mut mpsc::Receiver<()>,
    ) -> Result<(), DaemonError> {
        let mut overdue = clock::deadline(WITHOUT_TICKS);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.reload.recv() => {
                    self.reload();
                    continue;
                }
                Some(ended) = self.runs.join_next_with_id() => {
                    self.ended(ended);
                    continue;
                }
                tick = ticks.recv() => tick.ok_or(DaemonError::Silence)?,
                () = tokio::time::sleep_until(overdue) => {}
            }
            overdue = clock::deadline(WITHOUT_TICKS);
            tokio::select! {
                planned = self.plan() => planned?,
                // A database that does not answer must not keep it from ending.
                () = signals.stop() => return Ok(()),
            }
            systemd::alive();
        }
    }

    /// Starts what is due.
    async fn plan(&mut self) -> Result<(), DaemonError> {
        let now = clock::now();
        if !self.jobs.iter().any(|state| state.wants_a_look(now)) {
            return Ok(());
        }
        let looked = tokio::time::timeout(TO_ANSWER, self.look(now)).await;
        let Ok(looked) = looked else {
            tracing::warn!("The database did not say within {} s what is due", TO_ANSWER.as_secs());
            return Ok(());
        };
        match looked {
            Ok(found) => {
                for (index, slot) in found {
                    self.start(index, slot);
                }
                self.tell_next();
                Ok(())
            }
            // Another version works on this database now: to go on would be to guess.
            Err(error @ (StoreError::NoSchema | StoreError::OtherSchema { .. })) => Err(error.into()),
            Err(error) => {
                tracing::warn!("The database can't be asked what is due: {}", describe(&error));
                Ok(())
            }
        }
    }

    /// Asks the database which slots are due.
    async fn look(&mut self, now: Timestamp) -> Result<Vec<(usize, Slot)>, StoreError> {
        if self.jobs.iter().any(|state| state.saw_later(now)) {
            tracing::warn!("The clock was set back to {}", self.config.zone.format(now));
            self.register_jobs().await?;
        }
        let mut tx = self.db.read().await?;
        store::check_schema(&mut tx).await?;
        let mut seen = Vec::new();
        for (index, state) in self.jobs.iter().enumerate().filter(|(_, state)| state.wants_a_look(now)) {
            seen.push((index, due(&mut tx, &self.config, state.job, now).await?));
        }
        tx.rollback().await?;
        // Only now: where the answer broke off in the middle, all of it is asked for again.
        for (index, due) in &seen {
            let state = &mut self.jobs[*index];
            state.looked_at = now;
            state.look_at = due.next.unwrap_or(now.plus_micros(Timestamp::HOUR));
        }
        Ok(seen.into_iter().filter_map(|(index, due)| Some((index, due.slot?))).collect())
    }

    fn start(&mut self, index: usize, slot: Slot) {
        let state = &mut self.jobs[index];
        state.running = true;
        if slot.slots > 1 {
            tracing::info!(job = state.job.name, "`{}` makes up for {} slots", state.job.name, slot.slots);
        }
        let options = Options {
            slot: Some(slot),
            attempt: state.failures + 1,
            catch_up: state.catch_up,
            cut: Some(self.cut.subscribe()),
            stop: Some(self.stop.subscribe()),
            ..Options::default()
        };
        let (db, config, job) = (self.db.clone(), self.config.clone(), state.job);
        let run = async move { runner::run(&db, &config, job, options, &Silent).await };
        let handle = self.runs.spawn(run);
        self.running.insert(handle.id(), index);
    }

    fn ended(&mut self, ended: Result<(Id, Result<Finished, JobError>), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(index) = self.running.remove(&id) else { return };
        let state = &mut self.jobs[index];
        let name = state.job.name;
        state.running = false;
        let now = clock::now();
        let again_in = match ended {
            Ok((_, Ok(finished))) if finished.outcome == Outcome::Refused => {
                self.shown.metrics.ran(name, "refused", finished.duration_ms);
                tracing::warn!(job = name, "Refused `{name}`: {}", finished.refusal.unwrap_or_default());
                state.failures += 1;
                wait(state.failures)
            }
            Ok((_, Ok(finished))) => {
                self.shown.metrics.ran(name, finished.outcome.as_str(), finished.duration_ms);
                log_run(&finished);
                state.failures = 0;
                state.catch_up = false;
                0
            }
            Ok((_, Err(JobError::SlotDone))) => 0,
            Ok((_, Err(JobError::Store(error @ StoreError::Held { .. })))) => {
                tracing::debug!(job = name, "{error}");
                LOOK_AGAIN
            }
            // Another instance took it, or writes just now: that is no fault of the job.
            Ok((_, Err(JobError::Store(error @ (StoreError::Busy | StoreError::Fenced { .. }))))) => {
                tracing::info!(job = name, "`{name}` looks again soon: {error}");
                LOOK_AGAIN
            }
            Ok((_, Err(error))) => {
                self.shown.metrics.ran(name, "failed", 0);
                state.failures += 1;
                let tries = state.failures;
                tracing::error!(job = name, attempt = tries, "`{name}` failed: {}", describe(&error));
                wait(tries)
            }
            // A panic: the next try takes its lease over, since it is this process's own.
            Err(error) => {
                self.shown.metrics.ran(name, "failed", 0);
                state.failures += 1;
                tracing::error!(job = name, "`{name}` panicked: {error}");
                wait(state.failures)
            }
        };
        state.looked_at = now;
        state.look_at = now.plus_micros(again_in);
    }

    /// Takes prices and schedules anew. Runs under way keep what they began with; a configuration with
    /// faults changes nothing.
    fn reload(&mut self) {
        systemd::reloading();
        match (self.reload)() {
            Err(error) => {
                for fault in error.faults {
                    tracing::error!("The configuration was not taken: {fault}");
                }
            }
            Ok(new) if new.zone != self.config.zone => {
                tracing::error!(
                    "The configuration was not taken: the zone can't change while it runs; restart"
                );
            }
            Ok(new) => {
                if new.listen != self.config.listen || new.database != self.config.database {
                    tracing::warn!("`database` and `listen` are read at the start: restart to change them");
                }
                let same = new.fingerprint == self.config.fingerprint;
                let words = if same { "again, unchanged" } else { "anew" };
                tracing::info!(fingerprint = new.fingerprint, "Took the configuration {words}");
                self.config = Arc::new(new);
                let mut shown = self.shown.config.write().unwrap_or_else(|poisoned| poisoned.into_inner());
                *shown = self.config.clone();
                self.jobs.iter_mut().for_each(|state| state.look_at = Timestamp::default());
            }
        }
        systemd::ready();
    }

    /// Lets runs finish; cuts those that take too long, or all at a second signal.
    async fn drain(&mut self, signals: &mut Signals) {
        if !self.runs.is_empty() {
            tracing::info!("Waiting for {} runs to end", self.runs.len());
        }
        self.stop.send_replace(true);
        let deadline = clock::deadline(TO_FINISH);
        loop {
            tokio::select! {
                ended = self.runs.join_next_with_id() => match ended {
                    Some(ended) => self.ended(ended),
                    None => return,
                },
                () = tokio::time::sleep_until(deadline) => break,
                () = signals.stop() => break,
            }
        }
        tracing::warn!("Rolling {} runs back", self.runs.len());
        self.cut.send_replace(true);
        let rolled_back = async {
            while let Some(ended) = self.runs.join_next_with_id().await {
                self.ended(ended);
            }
        };
        if tokio::time::timeout(TO_ROLL_BACK, rolled_back).await.is_err() {
            tracing::error!("Runs did not end in time; the database rolls them back");
            self.runs.abort_all();
        }
    }

    /// Tells systemd what comes next.
    fn tell_next(&self) {
        let waiting = self.jobs.iter().filter(|state| !state.running);
        if let Some(next) = waiting.min_by_key(|state| state.look_at) {
            systemd::status(&format!(
                "{} running; next {} at {}",
                self.runs.len(),
                next.job.name,
                self.config.zone.format_short(next.look_at)
            ));
        }
    }
}

/// Microseconds until the next try, after so many that failed.
fn wait(failures: i64) -> i64 {
    i64::try_from(backoff(failures).as_micros()).unwrap_or(i64::MAX)
}

fn log_run(finished: &Finished) {
    let counts = finished.counts.iter().filter(|(_, number)| *number != 0);
    let counts: Vec<String> =
        counts.map(|(name, number)| format!("{number} {}", name.replace('_', " "))).collect();
    let (job, outcome) = (finished.job, finished.outcome.as_str());
    let run_id = finished.run_no;
    let duration_ms = finished.duration_ms;
    match finished.outcome {
        Outcome::NothingToDo => {
            tracing::debug!(job, run_id, outcome, duration_ms, "`{job}` had nothing to do")
        }
        Outcome::Partial if finished.first_finding().is_some() => tracing::error!(
            job,
            run_id,
            outcome,
            duration_ms,
            "`{job}` found the books wrong, see `quittance status`: {}",
            finished.first_finding().unwrap_or_default()
        ),
        Outcome::Partial => tracing::warn!(
            job,
            run_id,
            outcome,
            duration_ms,
            "`{job}` left something waiting, see `quittance status`: {}",
            counts.join(", ")
        ),
        _ => tracing::info!(job, run_id, outcome, duration_ms, "Ran `{job}`: {}", counts.join(", ")),
    }
}
