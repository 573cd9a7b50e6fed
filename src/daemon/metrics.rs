//! What Prometheus reads: runs of this daemon as counters, the state of the books as gauges.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::http::Facts;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    job: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    channel: String,
    state: String,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Runs since this daemon started.
pub struct Metrics {
    registry: Registry,
    runs: Family<RunLabels, Counter>,
    durations: Family<JobLabels, Histogram>,
}

/// Upper bounds of run times in seconds: from an idle run to a month's backlog.
fn histogram() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0])
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::default();
        let runs = Family::default();
        let durations: Family<JobLabels, Histogram> = Family::new_with_constructor(histogram);
        registry.register("quittance_runs", "Runs of jobs by this daemon, by outcome", runs.clone());
        registry.register(
            "quittance_run_duration_seconds",
            "How long runs that ended took",
            durations.clone(),
        );
        Metrics { registry, runs, durations }
    }
}

impl Metrics {
    pub fn ran(&self, job: &'static str, outcome: &'static str, duration_ms: i64) {
        self.runs.get_or_create(&RunLabels { job, outcome }).inc();
        if outcome != "failed" {
            self.durations.get_or_create(&JobLabels { job }).observe(duration_ms as f64 / 1_000.0);
        }
    }

    /// Everything in the text format.
    pub fn text(&self, facts: &Facts) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &gauges(facts))?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// The books as they are now.
fn gauges(facts: &Facts) -> Registry {
    let mut registry = Registry::default();
    let age = Family::<JobLabels, Seconds>::default();
    let completed = Family::<JobLabels, Seconds>::default();
    let behind = Family::<JobLabels, Gauge>::default();
    for job in &facts.jobs {
        let labels = JobLabels { job: job.name };
        behind.get_or_create(&labels).set(job.slots_behind);
        if let Some(at) = job.completed_at {
            completed.get_or_create(&labels).set(at.0 as f64 / 1e6);
            age.get_or_create(&labels).set((facts.now.0 - at.0).max(0) as f64 / 1e6);
        }
    }
    registry.register("quittance_job_age_seconds", "Since the job's last run that did its work began", age);
    registry.register(
        "quittance_job_last_success_timestamp_seconds",
        "When the job's last run that did its work began",
        completed,
    );
    registry.register("quittance_job_slots_behind", "Scheduled times that passed without a run", behind);

    let suspense = Family::<ReasonLabels, Gauge>::default();
    for (reason, messages) in &facts.suspense {
        suspense.get_or_create(&ReasonLabels { reason: reason.clone() }).set(*messages);
    }
    registry.register(
        "quittance_suspense_messages",
        "Messages that could not be charged, by reason",
        suspense,
    );
    let lines = Family::<ReasonLabels, Gauge>::default();
    for (verdict, number) in &facts.quarantined {
        lines.get_or_create(&ReasonLabels { reason: verdict.clone() }).set(*number);
    }
    registry.register("quittance_quarantined_lines", "Lines that were rejected or in conflict", lines);
    let exceptions = Family::<KindLabels, Gauge>::default();
    for (kind, number) in &facts.exceptions {
        exceptions.get_or_create(&KindLabels { kind: kind.clone() }).set(*number);
    }
    registry.register("quittance_exceptions", "What waits for somebody to decide, by kind", exceptions);
    let accounts = Family::<StatusLabels, Gauge>::default();
    for (status, number) in &facts.accounts {
        accounts.get_or_create(&StatusLabels { status: status.clone() }).set(*number);
    }
    registry.register("quittance_accounts", "Accounts, by status", accounts);

    let deliveries = Family::<DeliveryLabels, Gauge>::default();
    for (channel, state, number) in &facts.deliveries {
        let labels = DeliveryLabels { channel: channel.clone(), state: state.clone() };
        deliveries.get_or_create(&labels).set(*number);
    }
    registry.register(
        "quittance_notices",
        "Deliveries of notices that wait or failed, by channel and state",
        deliveries,
    );

    let single = |number: i64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(number);
        gauge
    };
    registry.register(
        "quittance_backlog_messages",
        "Messages that no run has charged yet",
        single(facts.backlog_messages),
    );
    registry.register(
        "quittance_backlog_batches",
        "Batches that no run has charged yet",
        single(facts.backlog_batches),
    );
    registry.register(
        "quittance_parked_accounts",
        "Accounts parked for a fault of their own",
        single(facts.parked),
    );
    registry.register(
        "quittance_wrong_accounts",
        "Accounts, and the books as a whole, that their last audit found wrong",
        single(facts.wrong),
    );
    registry
}
