//! Notices as they might be: templates are checked and shown with them.

use super::Told;
use crate::domain::bill::{Bill, Line, LineKind};
use crate::domain::money::Micros;
use crate::domain::notice::{Fact, NoticeKind};
use crate::domain::period::{Month, Timestamp, Zone};

/// How large the values of a sample are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As most are.
    Usual,
    /// Nothing left, nothing due: the other branch of each choice.
    None,
    /// The longest that can be.
    Longest,
}

impl Size {
    pub const ALL: &[Size] = &[Size::Usual, Size::None, Size::Longest];

    fn money(self, usual: i64) -> Fact {
        Fact::Money(match self {
            Size::Usual => Micros(usual),
            Size::None => Micros::ZERO,
            Size::Longest => Micros(i64::MIN + 1),
        })
    }

    fn count(self, usual: i64) -> Fact {
        Fact::Count(match self {
            Size::Usual => usual,
            Size::None => 0,
            Size::Longest => i64::MAX,
        })
    }

    fn text(self, usual: &str) -> Fact {
        match self {
            // Words from elsewhere must not become markup, headers or templates.
            Size::Longest => Fact::Text(format!("{usual} <b>&\"'{{{{ x }}}}\u{202e}").repeat(4)),
            _ => Fact::Text(usual.to_owned()),
        }
    }
}

/// 2026-03-01 09:00 in Shanghai.
const MORNING: Timestamp = Timestamp(1_772_326_800_000_000);

/// A notice of a kind to an account that might be.
pub fn told(kind: NoticeKind, locale: &str, zone: Zone, size: Size) -> Told {
    let operator = kind.is_for_operator();
    let longest = size == Size::Longest;
    let name = match (operator, longest) {
        (true, _) => "operator".to_owned(),
        (false, true) => "深圳市某某信息技术有限公司 & Söhne <GmbH> \"Größe\" ".repeat(5).trim().to_owned(),
        (false, false) => "Acme 短信".to_owned(),
    };
    Told {
        books: String::new(),
        kind,
        subject: "sample".to_owned(),
        due: MORNING,
        at: MORNING,
        facts: facts(kind, size).into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect(),
        account_id: match (operator, longest) {
            (true, _) => String::new(),
            (false, true) => "a".repeat(64),
            (false, false) => "acme".to_owned(),
        },
        name,
        currency: "CNY".to_owned(),
        locale: locale.to_owned(),
        zone,
        unit: "message".to_owned(),
    }
}

/// A bill of a month that the letter of a sample might bring, with its figures.
pub fn bill(told: &Told, month: Month) -> Bill {
    let money = |name: &str| match told.facts.iter().find(|(known, _)| known == name) {
        Some((_, Fact::Money(amount))) => *amount,
        _ => Micros::ZERO,
    };
    let line = Line {
        kind: LineKind::Payg,
        product: Some("sms-domestic".to_owned()),
        template_type: Some("notification".to_owned()),
        country: None,
        units: Some(123_501),
        unit_price: Some(Micros(40_000)),
        amount: money("total"),
        net: Micros::ZERO,
        vat_ppm: None,
        settled: false,
        reference: None,
    };
    Bill {
        bill_id: told.text("bill_id").unwrap_or_default().to_owned(),
        account_id: told.account_id.clone(),
        month: month.number(),
        currency: told.currency.clone(),
        lines: vec![line],
        total: money("total"),
        paid: money("paid"),
        accrued: money("total"),
        issued_at: told.at,
        note: None,
    }
}

/// The facts that a kind of notice has.
pub fn facts(kind: NoticeKind, size: Size) -> Vec<(&'static str, Fact)> {
    use NoticeKind as K;
    let (money, count) = (|usual| size.money(usual), |usual| size.count(usual));
    let text = |usual: &str| size.text(usual);
    let time = Fact::Time(Timestamp(MORNING.0 + 10 * Timestamp::DAY));
    let plan = || [("plan", text("acme-p12")), ("product", text("sms-domestic"))];
    let mut facts: Vec<(&'static str, Fact)> = match kind {
        K::QuotaLow | K::PlanUsedUp | K::PlanExpiring | K::PlanExpired => plan().into(),
        _ => Vec::new(),
    };
    facts.extend(match kind {
        K::Overdue => vec![("month", text("2026-02")), ("due", money(12_340_000))],
        // Held by a violation where the longest is asked for; overdue else.
        K::Suspended => {
            let held = Fact::Count(i64::from(size == Size::Longest));
            vec![("available", money(-2_500_000)), ("held", held), ("reason", text("overdue"))]
        }
        K::Restored => {
            vec![("available", money(97_500_000)), ("held", Fact::Count(0)), ("reason", text("paid"))]
        }
        K::BalanceLow => vec![("available", money(120_500_000)), ("threshold", money(300_000_000))],
        K::QuotaLow | K::PlanUsedUp => vec![
            ("size", count(5_000)),
            ("remaining", count(900)),
            ("left", count(1_900)),
            ("expires_at", time),
        ],
        K::PlanExpiring => vec![("remaining", count(1_500)), ("expires_at", time), ("days_left", count(10))],
        K::PlanExpired => vec![("size", count(5_000)), ("forfeited", count(250)), ("expires_at", time)],
        K::RenewalDone => vec![
            ("product", text("sms-domestic")),
            ("package", text("sms-5000")),
            ("order", text("acme-o7")),
            ("plan", text("acme-p12")),
            ("price", money(170_000_000)),
            ("size", count(5_000)),
            ("due_by", text("threshold")),
            ("remaining", count(100)),
            ("expires_at", time),
        ],
        K::RenewalFailed => vec![
            ("product", text("sms-domestic")),
            ("package", text("sms-5000")),
            ("available", money(12_340_000)),
            ("remaining", count(100)),
            ("reason", text("insufficient_balance")),
            ("message", text("the order costs 170.00 CNY, 12.34 CNY are available; top up first")),
        ],
        K::BillReady => vec![
            ("month", text("2026-02")),
            ("bill_id", text("CNY-202602-000001")),
            ("total", money(4_940_040_000)),
            ("paid", money(4_927_700_000)),
            ("due", money(12_340_000)),
        ],
        K::RefundDone => vec![
            ("order", text("acme-o7")),
            ("amount", money(170_000_000)),
            ("kept", money(30_000_000)),
            ("plans", count(1)),
        ],
        K::MailQuotaChanged => vec![
            ("product", text("direct-mail")),
            ("before", count(2_000)),
            ("quota", count(4_000)),
            ("reason", text("raised")),
        ],
        K::JobFailed => vec![
            ("job", text("aggregate-charges")),
            ("failures", count(3)),
            ("error", text("the disk is full")),
        ],
        K::AccountParked => vec![
            ("job", text("monthly-bills")),
            ("account", text("acme")),
            ("fault", text("the amount is larger than the books can hold")),
        ],
        K::BooksWrong => vec![
            ("job", text("audit-changes")),
            ("findings", count(2)),
            ("finding", text("I04 an account's balance is the sum of its postings: acme")),
        ],
        K::ExceptionsWaiting => {
            vec![("total", count(14)), ("exceptions", count(5)), ("lines", count(7)), ("refunds", count(2))]
        }
    });
    facts
}
