//! Which accounts a finding is about: those are told by name, and are not marked as right.

use std::collections::{BTreeMap, BTreeSet};

use super::{Audit, TOGETHER};
use crate::store::invariants;
use crate::store::scope::Scope;
use crate::store::{StoreError, Tx};

/// What an audit of accounts came to, account by account.
#[derive(Clone, Debug, Default)]
pub struct Blame {
    /// Accounts that are wrong, each with its first fault.
    pub wrong: BTreeMap<String, String>,
    /// Accounts that may be: so many are wrong that not all could be looked at.
    pub unknown: BTreeSet<String>,
    /// What is wrong with the books as a whole, and with no account.
    pub of_all: Option<String>,
}

/// Wrong accounts that are found by name in a run; the next run finds more.
const NAMED: usize = 100;

impl Blame {
    /// Finds the accounts that what was found is about. Where invariants are broken they are asked again of
    /// ever fewer accounts, so that this costs little while few are wrong.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(
        tx: &mut Tx,
        ids: &[String],
        found: &Audit,
        with_messages: bool,
    ) -> Result<Blame, StoreError> {
        let mut blame = Blame { wrong: found.differing.clone(), ..Blame::default() };
        if found.broken.iter().any(|broken| !broken.of_all) {
            let mut parts: Vec<&[String]> = ids.chunks(TOGETHER).rev().collect();
            while let Some(part) = parts.pop() {
                if blame.wrong.len() >= NAMED {
                    blame.unknown.extend(part.iter().cloned());
                    continue;
                }
                let scope = Scope::of(tx, part).await?;
                let (_, broken) = invariants::ask(tx, &scope, with_messages).await?;
                match (broken.into_iter().next(), part) {
                    (None, _) => {}
                    (Some(first), [id]) => {
                        blame.wrong.insert(id.clone(), first.words);
                    }
                    _ => {
                        let (front, back) = part.split_at(part.len() / 2);
                        parts.extend([back, front]);
                    }
                }
            }
            blame.unknown.retain(|id| !blame.wrong.contains_key(id));
        }
        let of_all = found.broken.iter().find(|broken| broken.of_all);
        let of_nobody = found.broken.first().filter(|_| blame.wrong.is_empty());
        blame.of_all = of_all.or(of_nobody).map(|broken| broken.words.clone());
        Ok(blame)
    }
}
