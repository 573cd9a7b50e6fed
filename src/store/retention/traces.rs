//! What runs, deliveries and rejected lines leave behind, and nobody needs for long (F94, F95).

use crate::store::db::{Tx, Value, values};
use crate::store::error::StoreError;
use crate::store::runs::COMPLETED;

/// Up to when each kind of trace is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Deliveries of notices of before.
    pub deliveries: i64,
    /// Runs of before, by the clock and by the time they worked at.
    pub runs: i64,
    /// Lines of batches that came before.
    pub rejected_lines: i64,
    /// Jobs whose runs the books never name.
    pub nameless: Vec<&'static str>,
}

/// A kind of trace: the table, its condition, and the statement for a portion of it.
struct Trace {
    table: &'static str,
    key: &'static str,
    condition: String,
    values: Vec<Value>,
    /// What becomes of it.
    statement: &'static str,
}

/// Forgets so many of each kind of trace at most; gives the counts of deliveries, runs and lines.
pub async fn forget_traces(tx: &mut Tx, traces: &Traces, together: i64) -> Result<[i64; 3], StoreError> {
    let first_kept = "select coalesce(min(run_no), 9223372036854775807) from batches where kind = 'messages' \
                      and retired < accepted";
    let first_kept = tx.int(first_kept, vec![]).await?;
    let mut forgotten = [0; 3];
    let kinds = [deliveries(traces), runs(traces, first_kept), rejected_lines(traces)];
    for (forgotten, Trace { table, key, condition, values, statement }) in forgotten.iter_mut().zip(kinds) {
        let portion = format!("select {key} from {table} x where {condition} limit {together}");
        *forgotten = tx.execute(format!("{statement} where ({key}) in ({portion})"), values).await? as i64;
    }
    Ok(forgotten)
}

/// Ways that have come to an end. The notice stays: it stands in the inbox, and is told once for good (F102).
/// One that failed stays until somebody dismisses it.
fn deliveries(traces: &Traces) -> Trace {
    Trace {
        table: "deliveries",
        key: "account_id, notice_no, channel, target",
        condition: "x.state in ('sent', 'outdated', 'dismissed') and exists (select 1 from notices n \
                    where n.notice_no = x.notice_no and n.account_id = x.account_id and n.due < $1 and n.at < $1)"
            .into(),
        values: values![traces.deliveries],
        statement: "delete from deliveries",
    }
}

/// Runs that changed no books, and those of jobs that the books don't name. A later one must have come at
/// least as far: by the last of a job it is told what is due, and how far it is. How far charging had come
/// when a message was charged is told as long as one of its run is kept (D41).
fn runs(traces: &Traces, first_kept: i64) -> Trace {
    let nameless: Vec<String> = traces.nameless.iter().map(|job| format!("'{job}'")).collect();
    let later = format!(
        "select 1 from job_runs y where y.job = x.job and y.run_no > x.run_no and y.as_of >= x.as_of \
         and coalesce(y.slot, y.started_at) >= coalesce(x.slot, x.started_at) \
         and y.outcome in {COMPLETED}"
    );
    Trace {
        table: "job_runs",
        key: "run_no",
        condition: format!(
            "x.started_at < $1 and x.as_of < $1 and x.outcome <> 'running' \
             and (x.outcome not in ('done', 'partial') or x.job in ({})) and exists ({later} \
               and (x.job <> 'aggregate-charges' or y.run_no < $2))",
            nameless.join(", ")
        ),
        values: values![traces.runs, first_kept],
        statement: "delete from job_runs",
    }
}

/// The text of lines that a later batch took, or that somebody dismissed.
fn rejected_lines(traces: &Traces) -> Trace {
    Trace {
        table: "batch_lines",
        key: "batch_no, line, verdict",
        condition: "x.raw is not null and x.verdict = 'rejected' \
                    and exists (select 1 from batches b where b.batch_no = x.batch_no and b.ingested_at < $1) \
                    and (x.retried_in is not null or exists (select 1 from exceptions e \
                      where e.kind = 'rejected_line' and e.batch_no = x.batch_no and e.line = x.line))"
            .into(),
        values: values![traces.rejected_lines],
        statement: "update batch_lines set raw = null",
    }
}
