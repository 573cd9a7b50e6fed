//! Reviews daily sending quotas by what the week before showed (R16-R21, D31).
//!
//! Takes the accounts that sent or were answered in the week that ended last, and raises, lowers or keeps
//! what they may send a day; the figures are kept with the decision. A week is reviewed once: weeks that
//! no run came for are left out, since the last one says most of a sender.

use super::{JobError, Report, Run};
use crate::domain::notice::{Fact, Notice, NoticeKind};
use crate::domain::product::Product;
use crate::domain::quota::{Decision, QuotaRules, review};
use crate::listed::Listed;
use crate::store::notices::Notices;
use crate::store::quotas::{self, ReviewRow};

pub async fn run(run: Run<'_>) -> Result<Report, JobError> {
    run.progress.begin("reviewing", None);
    let mut reviewing = Reviewing { run, reviewed: Vec::new() };
    let config = reviewing.run.config;
    for product in &config.catalog.products {
        if let Some(rules) = &product.quota {
            reviewing.review(product, rules).await?;
        }
    }
    quotas::mark_today(reviewing.run.tx, &config.catalog, config.zone, reviewing.run.as_of).await?;
    reviewing.run.progress.end();
    Ok(reviewing.report())
}

struct Reviewing<'a> {
    run: Run<'a>,
    reviewed: Vec<ReviewRow>,
}

impl Reviewing<'_> {
    async fn review(&mut self, product: &Product, rules: &QuotaRules) -> Result<(), JobError> {
        let run = &mut self.run;
        let zone = run.config.zone;
        let monday = zone.day_of(run.as_of).monday();
        let week = monday.week_before();
        let days = zone.days(zone.day_start(week), zone.day_start(monday));
        let weeks = quotas::week_counts(run.tx, product, &days).await?;
        let known = quotas::reviewed(run.tx, product).await?;
        let mut notices = Notices::default();
        let mut reviews = Vec::new();
        for (account_id, counts) in weeks {
            let daily = known.get(&account_id).copied().unwrap_or(rules.initial());
            let review = review(rules, daily, &counts);
            let product = product.id.to_string();
            let reviewed = ReviewRow { account_id, product, week: week.number(), counts, review };
            if review.decision() != Decision::Kept {
                notices.push(&reviewed.account_id, &notice(&reviewed, run.as_of), run.as_of);
            }
            reviews.push(reviewed);
        }
        quotas::save(run.tx, &reviews, run.as_of, run.run_no).await?;
        notices.flush(run.tx).await?;
        self.reviewed.extend(reviews);
        Ok(())
    }

    fn report(self) -> Report {
        let count =
            |decision| self.reviewed.iter().filter(|row| row.review.decision() == decision).count() as i64;
        let lines = self.reviewed.iter().map(|row| {
            let (from, to, reason) = (row.review.from, row.review.to, row.review.reason);
            format!("{}  {}  {from} a day -> {to}: {reason}", row.account_id, row.product)
        });
        Report {
            counts: vec![
                ("reviewed", self.reviewed.len() as i64),
                ("raised", count(Decision::Raised)),
                ("kept", count(Decision::Kept)),
                ("lowered", count(Decision::Lowered)),
            ],
            worked: !self.reviewed.is_empty(),
            effects: if self.run.dry_run { lines.collect() } else { Listed::default() },
            ..Report::default()
        }
    }
}

fn notice(row: &ReviewRow, at: crate::domain::period::Timestamp) -> Notice {
    Notice {
        kind: NoticeKind::MailQuotaChanged,
        subject: format!("{} {}", row.product, row.week),
        due: at,
        facts: vec![
            ("product", Fact::Text(row.product.clone())),
            ("before", Fact::Count(row.review.from)),
            ("quota", Fact::Count(row.review.to)),
            ("reason", Fact::Text(row.review.reason.to_string())),
        ],
    }
}
