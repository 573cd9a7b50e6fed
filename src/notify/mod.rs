//! How notices reach people: texts from templates, and the ways out of the house.
//!
//! ```text
//!  a notice and its account --words--> templates --letter--> smtp | a directory
//!                                          '--> sms, webhook --http--> a gateway
//! ```
//! Nothing here knows the books: what is to be told is handed in, and what became of it is handed back.

pub mod address;
pub mod http;
pub mod letter;
pub mod outlet;
pub mod sample;
pub mod smtp;
pub mod sms;
pub mod templates;
pub mod webhook;
pub mod words;

use sha2::{Digest, Sha256};

use crate::domain::notice::{Channel, Fact, NoticeKind};
use crate::domain::period::{Timestamp, Zone};

/// A notice with all that its texts need.
#[derive(Clone, Debug)]
pub struct Told {
    /// The name of the books that tell it; empty where it is not sent.
    pub books: String,
    pub kind: NoticeKind,
    /// What it is about, as it is unique with account, kind and due time.
    pub subject: String,
    pub due: Timestamp,
    /// When it was decided.
    pub at: Timestamp,
    pub facts: Vec<(String, Fact)>,
    /// Empty for the operator.
    pub account_id: String,
    pub name: String,
    pub currency: String,
    pub locale: String,
    /// Billing zone, in which times are written.
    pub zone: Zone,
    /// What one unit of the product is called, where the notice is about one: `message`, `email`.
    pub unit: String,
}

impl Told {
    /// A fact of words.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.facts.iter().find_map(|(found, fact)| match fact {
            Fact::Text(text) if found == name => Some(text.as_str()),
            _ => None,
        })
    }

    /// Whether there is no sense in telling it any more: what it announces has come.
    pub fn is_past(&self, now: Timestamp) -> bool {
        let ends = self.facts.iter().find_map(|(name, fact)| match fact {
            Fact::Time(at) if name == "expires_at" => Some(*at),
            _ => None,
        });
        self.kind.is_reminder() && ends.is_some_and(|ends| ends <= now)
    }

    /// The name of a delivery: the same for each try, and for nothing else. Receivers know by it what they
    /// have got before (F101).
    pub fn key(&self, channel: Channel, target: &str) -> String {
        let mut hash = Sha256::new();
        let due = self.due.0.to_string();
        let about = [self.account_id.as_str(), self.kind.as_str(), &self.subject, &due];
        for part in [self.books.as_str()].into_iter().chain(about).chain([channel.as_str(), target]) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{}.{digest}", self.kind.as_str())
    }
}

/// A delivery, ready to go.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub told: Told,
    /// The receiver's address or number; empty for a webhook.
    pub address: String,
    /// Which of several receivers it is for.
    pub target: String,
    /// What comes with it; letters alone carry it.
    pub attached: Option<Attached>,
}

/// A PDF that comes with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its file name.
    pub name: String,
    pub pdf: Vec<u8>,
}

impl Attached {
    /// Its media type.
    pub const TYPE: &str = "application/pdf";
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken by whoever passes it on, with the units that it counts where they do.
    Sent { units: Option<i64> },
    /// Not now; the same again, later, may well be taken.
    Later(String),
    /// Never: the receiver, or what was to be told, is refused.
    Never(String),
    /// It was not offered: nobody needs it any more.
    TooLate(String),
    /// It did not come to be offered: the server can't be reached, or lets nobody in.
    Unreachable(String),
}
