//! Random histories with receipts: some days of messages, then the days in which carriers answer, early
//! and late, twice and in contradiction, and runs of both jobs in between. Every
//! night the plans end of which nobody needs anything more.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use quittance::domain::period::Timestamp;

use super::history::{self, Day, History, Message, Receipt, Step, messages_of, midnight, payments};
use super::naive::units;

/// Days of a history with receipts: in the longest the last answers come long after the grace.
const DAYS: std::ops::RangeInclusive<usize> = 5..=10;
/// Days after the submission of the first and last messages in which a receipt comes.
const LATEST: usize = 7;

/// What a carrier says, and when.
#[derive(Clone, Debug)]
pub struct Answer {
    of: Index,
    status: &'static str,
    /// Micro-seconds after submission.
    after: i64,
    /// The day of arrival, counted from the day before its message's.
    day: usize,
    /// In the file before the day's messages.
    before: bool,
    part: Option<(Index, bool)>,
}

#[derive(Clone, Debug)]
pub struct Answered {
    days: History,
    answers: Vec<Answer>,
    /// For each day its runs; true settles, false charges. The history ends after the last of them.
    runs: Vec<Vec<bool>>,
}

pub fn answered() -> impl Strategy<Value = Answered> {
    let status =
        select(vec!["delivered", "failed", "failed", "failed", "expired", "rejected", "unknown", "accepted"]);
    let hours_72 = 72 * 60 * Timestamp::MINUTE;
    let after = prop_oneof![
        4 => 0..hours_72,
        1 => select(vec![hours_72 - 1, hours_72, hours_72 + 1, hours_72 + Timestamp::MINUTE]),
    ];
    let part = prop::option::weighted(0.4, (any::<Index>(), prop::bool::weighted(0.1)));
    let answer = (any::<Index>(), status, after, 0..=LATEST, any::<bool>(), part);
    let answer = answer.prop_map(|(of, status, after, day, before, part)| Answer {
        of,
        status,
        after,
        day,
        before,
        part,
    });
    let runs = prop::collection::vec(prop::collection::vec(any::<bool>(), 0..3), DAYS);
    (history::history(false), prop::collection::vec(answer, 20..80), runs)
        .prop_map(|(days, answers, runs)| Answered { days, answers, runs })
}

/// How the receipts of a day are handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handing {
    /// In one file.
    Whole,
    /// Each in a file of its own.
    Split,
    /// Every file twice.
    Repeated,
}

pub fn steps(answered: &Answered, handing: Handing) -> Vec<Step> {
    let all: Vec<(usize, Message)> = (0..)
        .zip(&answered.days)
        .flat_map(|(day, events): (usize, &Day)| messages_of(day, events).into_iter().map(move |m| (day, m)))
        .collect();
    let mut steps = Vec::new();
    for (day, runs) in answered.runs.iter().enumerate() {
        let night = midnight(day + 1);
        let receipts = |before: bool| -> Vec<Receipt> {
            let due = answered.answers.iter().filter(|answer| answer.before == before);
            due.filter_map(|answer| {
                let (sent, message) = &all[answer.of.index(all.len())];
                ((sent + answer.day).saturating_sub(1) == day).then(|| receipt(answer, message, night))
            })
            .collect()
        };
        let events = answered.days.get(day);
        steps.extend(events.into_iter().flat_map(|events| payments(day, events)));
        steps.extend(files(receipts(true), handing, night));
        steps.extend(events.map(|events| Step::File { messages: messages_of(day, events), at: night }));
        steps.extend(files(receipts(false), handing, night));
        let run =
            |settles: &bool| if *settles { Step::Settle { at: night } } else { Step::Run { at: night } };
        steps.extend(runs.iter().map(run));
        steps.push(Step::Expire { at: night });
    }
    let end = midnight(answered.runs.len());
    steps.extend([Step::Run { at: end }, Step::Settle { at: end }, Step::Expire { at: end }]);
    steps
}

/// Nobody reports what has not happened yet.
fn receipt(answer: &Answer, message: &Message, arrives: Timestamp) -> Receipt {
    let part = answer.part.and_then(|(part, wrong)| {
        let of = units(message)? as i64;
        Some((part.index(of as usize) as i64 + 1, of + i64::from(wrong)))
    });
    Receipt {
        account: message.account,
        id: message.id.clone(),
        status: answer.status,
        reported: message.at.plus_micros(answer.after).min(arrives),
        part,
    }
}

fn files(receipts: Vec<Receipt>, handing: Handing, at: Timestamp) -> Vec<Step> {
    let files: Vec<Vec<Receipt>> = match handing {
        _ if receipts.is_empty() => Vec::new(),
        Handing::Whole => vec![receipts],
        Handing::Split => receipts.into_iter().map(|receipt| vec![receipt]).collect(),
        Handing::Repeated => vec![receipts.clone(), receipts],
    };
    files.into_iter().map(|receipts| Step::Receipts { receipts, at }).collect()
}
