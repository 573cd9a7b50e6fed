//! What a run came to, for people and scripts.

use serde_json::{Value, json};

use crate::config::Config;
use crate::domain::account::Parked;
use crate::domain::period::Timestamp;
use crate::listed::Listed;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    NothingToDo,
    /// Done, but something was parked or put into suspense, and is listed.
    Partial,
    /// Not done: time is in doubt, and the job can't be undone (D44).
    Refused,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::NothingToDo => "nothing_to_do",
            Outcome::Partial => "partial",
            Outcome::Refused => "refused",
        }
    }
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Finished {
    pub job: &'static str,
    pub run_no: i64,
    pub as_of: Timestamp,
    pub outcome: Outcome,
    /// Why it was refused, and what to do.
    pub refusal: Option<String>,
    pub counts: Vec<(&'static str, i64)>,
    pub parked: Listed<Parked>,
    pub effects: Listed<String>,
    /// What is wrong with the books; None of a job that does not audit them.
    pub findings: Option<Listed<String>>,
    pub duration_ms: i64,
    pub dry_run: bool,
}

impl Finished {
    /// The first of what is wrong with the books.
    pub fn first_finding(&self) -> Option<&str> {
        self.findings.as_ref()?.first.first().map(String::as_str)
    }

    pub fn counts_json(&self) -> Value {
        self.counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
    }

    /// The keys that scripts read.
    pub fn to_json(&self, config: &Config) -> Value {
        let parked: Vec<_> = self
            .parked
            .first
            .iter()
            .map(|p| json!({ "account_id": p.account_id, "fault": p.fault }))
            .collect();
        let mut json = json!({
            "job": self.job,
            "run_id": self.run_no.to_string(),
            "as_of": config.zone.format(self.as_of),
            "outcome": self.outcome.as_str(),
            "counts": self.counts_json(),
            "parked": parked,
            "parked_left_out": self.parked.left_out,
            "duration_ms": self.duration_ms,
        });
        if let Some(findings) = &self.findings {
            json["findings"] = json!(findings.first);
            json["findings_left_out"] = json!(findings.left_out);
        }
        if let Some(reason) = &self.refusal {
            json["reason"] = json!(reason);
        }
        if self.dry_run {
            json["dry_run"] = json!(true);
            json["effects"] = json!(self.effects.first);
            json["effects_left_out"] = json!(self.effects.left_out);
        }
        json
    }
}

/// An error with all its causes in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
