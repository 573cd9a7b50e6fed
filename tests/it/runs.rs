//! Runs of jobs: their time.

use std::sync::Arc;

use quittance::config::Config;
use quittance::domain::period::Timestamp;
use quittance::jobs;
use quittance::progress::Silent;
use quittance::runner::{self, Options};
use quittance::store::{self, Db};

use crate::support::databases::on_both;

#[test]
fn a_run_works_as_of_the_time_it_is_told_and_never_before_a_time_that_was_reached() {
    let config = Arc::new(Config::built_in().expect("the shipped configuration"));
    let job = jobs::find("aggregate-charges").expect("the job");
    let time = |text| Timestamp::parse_rfc3339(text).expect("a time");
    let (first, second) = (time("2026-03-01T09:00:00+08:00"), time("2026-03-02T09:00:00+08:00"));
    on_both(|database| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let db = Db::open(&database.url).await.expect("a database");
            store::prepare(&db).await.expect("a schema");
            let as_of = async |as_of, dry_run| {
                let options = Options { as_of: Some(as_of), dry_run };
                runner::run(&db, &config, job, options, &Silent).await.expect("a run").as_of
            };
            assert_eq!(as_of(first, false).await, first);
            assert_eq!(as_of(second, true).await, second, "a dry run is told its time, too");
            assert_eq!(as_of(first, false).await, first, "and leaves business time where it was");
            assert_eq!(as_of(second, false).await, second);
            assert_eq!(as_of(first, false).await, second, "business time does not go back (D44, D57)");
            db.close().await;
        });
    });
}
