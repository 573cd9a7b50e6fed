//! Notices: what a customer or the operator is told, each once (R11, R12, R26, R43, R44, R143).
//!
//! A notice is decided where its cause is, and written in the same transaction. How it reaches people
//! is another matter.

use super::money::Micros;
use super::period::Timestamp;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// What a notice is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum NoticeKind { $($(#[$doc])* $variant),+ }

        impl NoticeKind {
            pub const ALL: &[NoticeKind] = &[$(NoticeKind::$variant),+];

            /// The name in tables, templates and settings.
            pub fn as_str(self) -> &'static str {
                match self { $(NoticeKind::$variant => $word),+ }
            }
        }
    };
}

kinds! {
    /// A bill was not paid whole, and no credit limit covers the rest (D2, D76).
    Overdue = "overdue",
    /// The account fell below what it may owe: sending fails, plans are locked (D2).
    Suspended = "suspended",
    /// It has paid and may send again.
    Restored = "restored",
    /// The available balance will not last long (R143, D39).
    BalanceLow = "balance_low",
    QuotaLow = "quota_low",
    PlanUsedUp = "plan_used_up",
    /// A plan is about to expire (R11).
    PlanExpiring = "plan_expiring",
    /// A plan expired; what was left of it is forfeited (R10).
    PlanExpired = "plan_expired",
    RenewalDone = "renewal_done",
    RenewalFailed = "renewal_failed",
    BillReady = "bill_ready",
    RefundDone = "refund_done",
    MailQuotaChanged = "mail_quota_changed",
    /// To the operator.
    JobFailed = "job_failed",
    /// To the operator.
    AccountParked = "account_parked",
    /// To the operator.
    ExceptionsWaiting = "exceptions_waiting",
    /// To the operator: an audit found what must not be.
    BooksWrong = "books_wrong",
}

impl NoticeKind {
    pub fn parse(word: &str) -> Option<NoticeKind> {
        NoticeKind::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }

    /// Told to whoever runs the books, not to a customer.
    pub fn is_for_operator(self) -> bool {
        use NoticeKind::{AccountParked, BooksWrong, ExceptionsWaiting, JobFailed};
        matches!(self, JobFailed | AccountParked | ExceptionsWaiting | BooksWrong)
    }

    /// Worth a text message where nothing else is said: sending stops, or prepaid units end, unless the
    /// customer does something (R11, R26, R143).
    pub fn is_urgent(self) -> bool {
        use NoticeKind::{BalanceLow, Overdue, PlanExpiring, Suspended};
        matches!(self, PlanExpiring | BalanceLow | Overdue | Suspended)
    }

    /// A reminder that a customer may do without; the others tell of money or of what happened.
    pub fn is_reminder(self) -> bool {
        matches!(self, NoticeKind::PlanExpiring | NoticeKind::QuotaLow | NoticeKind::BalanceLow)
    }
}

/// A way by which people are told (R11, R26).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// What they find when they look: the internal message of the specification.
    Inbox,
    Email,
    Sms,
    Webhook,
}

impl Channel {
    pub const ALL: &[Channel] = &[Channel::Inbox, Channel::Email, Channel::Sms, Channel::Webhook];

    /// The name in tables, settings and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Inbox => "inbox",
            Channel::Email => "email",
            Channel::Sms => "sms",
            Channel::Webhook => "webhook",
        }
    }

    pub fn parse(word: &str) -> Option<Channel> {
        Channel::ALL.iter().copied().find(|channel| channel.as_str() == word)
    }
}

/// A value that a notice tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// In the account's currency.
    Money(Micros),
    Count(i64),
    Time(Timestamp),
    Text(String),
}

/// Something to be told once: unique by account, kind, subject and due time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: NoticeKind,
    /// What it is about: a plan, an order, a ledger entry.
    pub subject: String,
    /// When it is to be told.
    pub due: Timestamp,
    pub facts: Vec<(&'static str, Fact)>,
}
