//! `/healthz` and `/metrics`, for this machine alone.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Shown;
use crate::clock;
use crate::config::Config;
use crate::domain::period::Timestamp;
use crate::jobs;
use crate::runner::describe;
use crate::runner::due::due;
use crate::store::{StoreError, audited, charging, deliveries, exceptions, runs, status};

/// How long the database may take to answer before that is the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A job that missed so many scheduled times is not well.
const SLOTS_MISSED: i64 = 3;

/// The state of the books, as monitoring sees it.
pub struct Facts {
    pub now: Timestamp,
    pub jobs: Vec<JobFacts>,
    pub backlog_batches: i64,
    pub backlog_messages: i64,
    pub suspense: Vec<(String, i64)>,
    pub quarantined: Vec<(String, i64)>,
    pub exceptions: Vec<(String, i64)>,
    pub parked: i64,
    /// Accounts, and the books as a whole, that their last audit found wrong.
    pub wrong: i64,
    pub accounts: Vec<(String, i64)>,
    /// Deliveries of notices: channel, state, how many.
    pub deliveries: Vec<(String, String, i64)>,
}

pub struct JobFacts {
    pub name: &'static str,
    /// When the last run that did its work began.
    pub completed_at: Option<Timestamp>,
    pub slots_behind: i64,
}

/// Listens. A port that is taken, as by a second daemon on this machine, is no reason not to bill.
pub async fn start(config: &Config, shown: Arc<Shown>) -> Option<JoinHandle<()>> {
    let address = config.listen?;
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!("/healthz and /metrics are off: {address} can't be listened on: {error}");
            return None;
        }
    };
    // Port 0 stands for any that is free.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!("/healthz and /metrics on http://{address}");
    let app = Router::new().route("/healthz", get(healthz)).route("/metrics", get(metrics)).with_state(shown);
    Some(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!("The HTTP port failed: {error}");
        }
    }))
}

async fn healthz(State(shown): State<Arc<Shown>>) -> Response {
    let (healthy, json) = match gather(&shown).await {
        Err(why) => (false, json!({ "status": "failing", "reasons": [why] })),
        Ok(facts) => {
            let late = facts.jobs.iter().filter(|job| job.slots_behind >= SLOTS_MISSED);
            let reasons: Vec<String> =
                late.map(|job| format!("{} is {} slots behind", job.name, job.slots_behind)).collect();
            let ages = facts.jobs.iter().map(|job| {
                let age = job.completed_at.map(|at| (facts.now.0 - at.0).max(0) / 1_000_000);
                (job.name.to_owned(), json!({ "age_seconds": age, "slots_behind": job.slots_behind }))
            });
            let jobs: serde_json::Value = ages.collect();
            let word = if reasons.is_empty() { "ok" } else { "failing" };
            (reasons.is_empty(), json!({ "status": word, "reasons": reasons, "jobs": jobs }))
        }
    };
    let code = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(header::CONTENT_TYPE, "application/json")], format!("{json}\n")).into_response()
}

async fn metrics(State(shown): State<Arc<Shown>>) -> Response {
    let told = match gather(&shown).await {
        Ok(facts) => shown.metrics.text(&facts).map_err(|error| error.to_string()),
        Err(why) => Err(why),
    };
    match told {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// Asks the database, within reason.
async fn gather(shown: &Shown) -> Result<Facts, String> {
    let facts = tokio::time::timeout(PATIENCE, facts(shown)).await;
    let late = |_| format!("the database did not answer within {} s", PATIENCE.as_secs());
    facts.map_err(late)?.map_err(|error| describe(&error))
}

async fn facts(shown: &Shown) -> Result<Facts, StoreError> {
    let config = shown.config();
    let now = clock::now();
    let mut tx = shown.db.read().await?;
    let mut jobs = Vec::new();
    for job in jobs::ALL.iter().filter(|job| config.schedules.contains_key(job.name)) {
        jobs.push(JobFacts {
            name: job.name,
            completed_at: runs::last_completed(&mut tx, job.name).await?.map(|run| run.started_at),
            slots_behind: due(&mut tx, &config, job, now).await?.slots_behind(),
        });
    }
    let waiting = charging::waiting(&mut tx).await?;
    let facts = Facts {
        now,
        jobs,
        backlog_batches: waiting.batches,
        backlog_messages: waiting.messages,
        suspense: status::suspense_by_reason(&mut tx).await?,
        quarantined: status::quarantined(&mut tx).await?,
        exceptions: exceptions::open_by_kind(&mut tx).await?,
        parked: status::parked(&mut tx).await?,
        wrong: audited::wrong_count(&mut tx).await?,
        accounts: status::accounts_by_status(&mut tx).await?,
        deliveries: deliveries::open(&mut tx).await?,
    };
    tx.rollback().await?;
    Ok(facts)
}
