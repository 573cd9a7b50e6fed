//! Questions about some accounts only, in the words of those about all.
//!
//! A query over the books is asked of some accounts by common table expressions that have the names of its
//! tables and show the rows of these accounts, found by index. The text of the query stays as it is, and a
//! role that may only read can ask it.

use super::db::{Dialect, Tx};
use super::error::StoreError;
use super::value::literal;

/// The accounts that a question is about.
#[derive(Clone, Debug)]
pub enum Scope {
    All,
    Some(Accounts),
}

/// Some accounts, and where their messages lie.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Their ids as literals.
    list: String,
    /// The runs that charged any of them; None where each account's own are to be sought.
    charged_by: Option<String>,
    /// The batches that hold messages of theirs; None where they are too many to be named.
    batches: Option<String>,
    /// Messages in these batches, of whichever account: as many are read.
    messages: i64,
    schema: &'static str,
}

/// Tables and views that show an account's rows by index.
const TABLES: &[&str] = &[
    "account_events",
    "account_kinds",
    "accounts",
    "accruals",
    "bill_lines",
    "billed_prices",
    "bills",
    "bills_parked",
    "claims",
    "coupons",
    "deliveries",
    "entries",
    "failures_parked",
    "free_units",
    "invoice_returns",
    "invoices",
    "not_charged",
    "notices",
    "orders",
    "penalties",
    "plans",
    "postings",
    "quota_reviews",
    "refunds",
    "renewals",
    "retired_failures",
    "retired_messages",
    "returns",
    "suspense",
    "tier_counters",
    "top_ups",
    "usage_days",
    "withdrawals",
];

/// Pairs of a run and an account up to which all are looked up, since most runs charge most accounts.
const MANY_PAIRS: usize = 200_000;
/// From so many batches on messages are sought in all of them.
const MANY_BATCHES: usize = 2_000;

impl Scope {
    /// Some accounts, with all but their messages.
    pub fn without_messages(tx: &Tx, ids: &[String]) -> Scope {
        let schema = match tx.dialect() {
            // A table expression may not name itself there; with its schema the table is meant.
            Dialect::Sqlite => "main.",
            Dialect::Postgres => "",
        };
        let mut list: Vec<String> = ids.iter().map(|id| literal(id)).collect();
        if list.is_empty() {
            // Of no accounts there are no rows; an empty list is no SQL.
            list.push("null".to_owned());
        }
        let list = list.join(",");
        Scope::Some(Accounts { list, charged_by: None, batches: None, messages: 0, schema })
    }

    /// Some accounts, with their messages. No index leads from an account to its messages, but one leads
    /// from the runs that charged it to the batches that these took.
    pub async fn of(tx: &mut Tx, ids: &[String]) -> Result<Scope, StoreError> {
        let Scope::Some(mut accounts) = Scope::without_messages(tx, ids) else { return Ok(Scope::All) };
        let list = &accounts.list;
        let mut runs = vec!["0".to_owned()];
        for row in tx.rows(format!("select distinct run_no from ({}) k", accounts.runs()), vec![]).await? {
            runs.push(row.int(0)?.to_string());
        }
        let few = runs.len() * ids.len() <= MANY_PAIRS;
        let runs = runs.join(",");
        let sql = format!(
            "select batch_no, accepted - retired from batches where run_no in ({runs}) \
             union select b.batch_no, b.accepted - b.retired from suspense s join batches b on b.batch_no = s.batch_no \
             where s.account_id in ({list}) \
             union select b.batch_no, b.accepted - b.retired from not_charged n join messages m on m.id_hi = n.id_hi \
               and m.id_lo = n.id_lo and m.account_id = n.account_id join batches b on b.batch_no = m.batch_no \
             where n.account_id in ({list})"
        );
        let mut batches = Vec::new();
        for row in tx.rows(sql, vec![]).await? {
            batches.push(row.int(0)?.to_string());
            accounts.messages += row.int(1)?;
        }
        batches.push("0".to_owned());
        accounts.batches = Some(batches.join(",")).filter(|_| batches.len() <= MANY_BATCHES);
        accounts.charged_by = Some(runs).filter(|_| few);
        Ok(Scope::Some(accounts))
    }

    /// Asks a query of these accounts alone.
    pub fn narrow(&self, query: &str) -> String {
        match self {
            Scope::All => query.to_owned(),
            Scope::Some(accounts) => accounts.narrow(query),
        }
    }

    /// Messages that are read for those of the accounts, others' among them: those of the same batches.
    pub fn messages(&self) -> i64 {
        match self {
            Scope::All => i64::MAX,
            Scope::Some(accounts) => accounts.messages,
        }
    }

    pub fn is_all(&self) -> bool {
        matches!(self, Scope::All)
    }
}

impl Accounts {
    /// The runs that charged each of the accounts, as their ledgers tell.
    fn runs(&self) -> String {
        let Accounts { list, schema, .. } = self;
        format!(
            "select distinct account_id, \
             cast('0' || substr(cause, length(rtrim(cause, '0123456789')) + 1) as bigint) as run_no \
             from {schema}entries where account_id in ({list}) and cause >= 'charge:' and cause < 'charge;'"
        )
    }

    fn narrow(&self, query: &str) -> String {
        let Accounts { list, schema, .. } = self;
        let reads = |table: &str| mentions(query, "from", table) || mentions(query, "join", table);
        let own = |table: &str| format!("select * from {schema}{table} where account_id in ({list})");
        let mut shown: Vec<(&str, String)> =
            TABLES.iter().filter(|table| reads(table)).map(|table| (*table, own(table))).collect();
        if reads("charges") {
            let charges = match &self.charged_by {
                Some(runs) => format!("{} and run_no in ({runs})", own("charges")),
                None => format!(
                    "select c.* from ({}) k join {schema}charges c on c.run_no = k.run_no \
                     and c.account_id = k.account_id",
                    self.runs()
                ),
            };
            // First, so that it reads the ledger itself.
            shown.insert(0, ("charges", charges));
        }
        // Where they are joined to something, each is found by its id.
        if goes_through_messages(query) {
            let within =
                self.batches.as_ref().map_or(String::new(), |list| format!(" and batch_no in ({list})"));
            shown.push(("messages", format!("{}{within}", own("messages"))));
        }
        if shown.is_empty() {
            return query.to_owned();
        }
        let shown: Vec<String> =
            shown.iter().map(|(name, query)| format!("{name} as not materialized ({query})")).collect();
        format!("with {} {query}", shown.join(", "))
    }
}

/// Whether a query reads messages other than by their ids.
pub fn goes_through_messages(query: &str) -> bool {
    mentions(query, "from", "messages")
}

/// Whether a query names a table after a word.
fn mentions(query: &str, word: &str, table: &str) -> bool {
    let name = format!("{word} {table}");
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    query.match_indices(&name).any(|(at, _)| ends(&query[at + name.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_that_a_query_names_are_narrowed() {
        let accounts = Accounts {
            list: "'a','b''c'".into(),
            charged_by: None,
            batches: Some("7".into()),
            messages: 0,
            schema: "main.",
        };
        let narrow = |query: &str| accounts.narrow(query);
        assert_eq!(narrow("select 1 from batches"), "select 1 from batches");
        assert_eq!(
            narrow("select 1 from bills"),
            "with bills as not materialized (select * from main.bills where account_id in ('a','b''c')) \
             select 1 from bills"
        );
        assert!(!narrow("select 1 from returns r join messages m on true").contains("messages as"));
        assert!(narrow("select 1 from messages m").contains("and batch_no in (7))"));
        assert!(!narrow("select 1 from bill_lines").contains(" bills "));
    }
}
