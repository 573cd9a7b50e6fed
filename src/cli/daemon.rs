//! `daemon`: runs until it is told to stop.

use std::process::ExitCode;

use super::{Failure, Session};
use crate::daemon::{self, DaemonError, Setup};
use crate::runner::describe;
use crate::store::durable;

pub async fn run(session: &Session) -> Result<ExitCode, Failure> {
    if session.as_of().is_some() {
        return Err(Failure::usage("the daemon works by the clock: leave --as-of out, or use --run-job"));
    }
    let config = session.config()?;
    let db = session.open(&config).await?;
    let mut tx = db.read().await?;
    for warning in durable::warnings(&mut tx).await? {
        tracing::warn!("{warning}");
    }
    tx.rollback().await?;
    let again = session.clone();
    let setup = Setup { db, config, reload: Box::new(move || again.load()), catch_up: session.catch_up() };
    match daemon::run(setup).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(DaemonError::Store(error)) => Err(error.into()),
        Err(error) => Err(Failure::other(describe(&error))),
    }
}
