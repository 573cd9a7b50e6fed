//! Notices on their way to people: written in the transaction of their cause, each once.

use serde_json::{Map, Value as Json, json};

use super::db::{Tx, Value, values};
use super::error::StoreError;
use crate::domain::notice::{Fact, Notice};
use crate::domain::period::Timestamp;

/// Notices of a transaction.
#[derive(Default)]
pub struct Notices {
    rows: Vec<Vec<Value>>,
}

impl Notices {
    /// Takes up a notice to an account; to the operator where the account is empty.
    pub fn push(&mut self, account_id: &str, notice: &Notice, at: Timestamp) {
        self.rows.push(values![
            account_id,
            notice.kind.as_str(),
            &notice.subject,
            notice.due.0,
            at.0,
            facts_json(&notice.facts)
        ]);
    }

    /// Writes them; those that were written before are left as they are.
    pub async fn flush(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        let columns = "account_id, kind, subject, due, at, facts";
        let statement = format!(
            "insert into notices ({columns}) select {columns} from v where true \
             on conflict (account_id, kind, subject, due) do nothing"
        );
        super::with_values(tx, columns, rows, &statement).await.map(|_| ())
    }
}

/// Facts as they are kept: each with its type, so that amounts and times are written out for the reader.
fn facts_json(facts: &[(&'static str, Fact)]) -> String {
    let value = |fact: &Fact| match fact {
        Fact::Money(amount) => json!(["money", amount.0]),
        Fact::Count(count) => json!(["count", count]),
        Fact::Time(at) => json!(["time", at.0]),
        Fact::Text(text) => json!(["text", text]),
    };
    let facts: Map<String, Json> =
        facts.iter().map(|(name, fact)| ((*name).to_owned(), value(fact))).collect();
    Json::Object(facts).to_string()
}
