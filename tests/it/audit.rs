//! The audit finds what is wrong: one fault is planted for each invariant, and each is found.

use quittance::audit::{Audit, Depth, audit, audit_accounts};
use quittance::config::Config;
use quittance::progress::Silent;
use quittance::store::{self, Db, Dialect, Tx};

use crate::support::books::block_on;
use crate::support::databases::on_both;
use crate::support::desk::Desk;
use crate::support::lines::{file, line};

/// Books with some of everything: a plan that is used up, tiers, failures given back to the plan and as
/// money, a late message, suspense, a penalty, a withdrawal.
fn open(url: &str) -> Desk {
    let mut desk = Desk::open_url(url);
    let run = |desk: &Desk, args: &[&str]| {
        let answer = desk.program.run(args);
        assert!([0, 3].contains(&answer.code), "{}", answer.shown());
    };
    desk.program.at("2026-03-01T08:00:00+08:00");
    run(&desk, &["account", "add", "other", "--name", "Another"]);
    run(&desk, &["account", "top-up", "other", "50", "--reference", "cash-1"]);
    run(&desk, &["order", "place", "acme", "sms-domestic-200"]);
    let message = |n: usize| {
        let account = match n {
            299 => "stranger",
            300.. => "other",
            _ => "acme",
        };
        let kind = ["verification", "promotional"][n % 2];
        let units = (1 + n % 3).to_string();
        line(&format!("m-{n}"), account, kind, &units, &format!("2026-03-01T09:{:02}:00+08:00", n / 6))
    };
    desk.program.at("2026-03-01T10:00:00+08:00");
    desk.take("m.csv", file(&(0..310).map(message).collect::<Vec<_>>()));
    run(&desk, &["--run-job", "aggregate-charges"]);
    let failures: String = (0..40)
        .map(|n| format!("m-{},acme,failed,2026-03-01T10:00:00+08:00\n", n * 7))
        .fold("message_id,account_id,status,report_time\n".to_owned(), |all, line| all + &line);
    desk.program.file("r.csv", failures);
    run(&desk, &["ingest", "receipts", "r.csv"]);
    run(&desk, &["--run-job", "settle-receipts"]);
    run(&desk, &["account", "penalize", "acme", "3", "--reason", "a test"]);
    run(&desk, &["account", "withdraw", "acme", "10", "--reference", "out"]);
    // By then what was sent is final.
    desk.program.at("2026-03-09T10:00:00+08:00");
    run(&desk, &["--run-job", "settle-receipts", "--catch-up"]);
    desk
}

/// Faults as SQL, each with words of what the audit must say of it.
const FAULTS: &[(&str, &str)] = &[
    ("update accounts set balance = balance + 1", "I04"),
    ("update accounts set unbilled = unbilled - 1", "I04"),
    ("update accounts set due = due + 1, balance = 0", "due"),
    ("update plans set remaining = remaining - 1 where remaining > 0", "plan"),
    ("update plans set released = released - 1", "I06"),
    ("update charges set units = units + 1", "I09"),
    ("update charges set unit_price = unit_price + 1 where plan_no = 0", "a recount"),
    ("update charges set amount = amount + 1 where plan_no = 0", "unbilled"),
    ("update charges set plan_no = 0 where plan_no = 1", "a recount"),
    ("update messages set units = units + 1 where line = 5", "I09"),
    ("update messages set submit_time = submit_time + 300000000 where line = 5", "a recount"),
    ("update messages set template_type = 'notification' where line = 6", "a recount"),
    ("delete from returns where seq = 1", "I13"),
    ("update returns set units = units + 5", "I12"),
    ("update returns set to_plan = 0, money_to = 'balance' where to_plan = 1", "plan"),
    ("update failures set answer = null, run_no = null where answer = 'returned'", "I13"),
    ("update failures set report_time = report_time + 400000000000", "I13"),
    (OPENED_AGAIN, "I13"),
    ("update postings set amount = amount + 1 where ledger = 'Assets:Unbilled'", "I02"),
    ("delete from postings where ledger = 'Liabilities:VAT:Pending'", "I02"),
    ("update top_ups set amount = amount + 1", "I04"),
    ("update withdrawals set amount = amount + 1", "I04"),
    ("update batches set rejected = rejected + 1, accepted = accepted - 1", "I28"),
    ("update orders set paid = paid - 1", "balance"),
    ("update plans set expires_at = effective_at + 1", "a recount"),
    ("update account_months set tiers = replace(tiers, '\"verification\",', '\"verification\",1')", "tier"),
    ("update account_months set accruals = replace(accruals, '60000,', '60000,9')", "I15 accruals"),
    ("update account_months set accruals = '[]'", "I15 accruals"),
    ("update account_months set month = month + 1", "accrued"),
    (BY_OTHERS, "I15 what was charged"),
    (NOT_FINAL, "I15 what was charged"),
    (NO_PENALTY, "I15 a penalty"),
    ("update postings set ledger = 'Income:Breakage' where ledger = 'Income:Penalty'", "I15 each"),
    ("update postings set commodity = 'USD' where commodity = 'CNY'", "in its currency"),
    ("update accounts set entries = entries + 1", "I33"),
    ("update postings set entry_no = entry_no + 1000 where ledger = 'Assets:Bank'", "I33"),
    ("delete from penalties", "I03"),
    ("update top_ups set at = at + 1", "I03"),
    ("update orders set placed_at = placed_at + 1", "I03"),
    ("update withdrawals set reference = 'in'", "I03"),
    ("update accounts set status = 'suspended'", "I30"),
    ("update accounts set closed_at = 1", "I30"),
    ("update accounts set held = 'spam'", "I30"),
    ("update accounts set overdue = 1", "I05 who is held"),
    ("update accounts set status = 'suspended', credit_limit = 5", "I05"),
    ("update receipts set status = 'delivered' where status = 'failed'", "I27"),
    ("update failures set line = line + 1000 where part = 0", "I27"),
    (
        "update failures set answer = 'late' where answer = 'returned'",
        "I13 a failure that was answered as late",
    ),
    ("update failures set answer = 'no_money' where answer = 'returned'", "I13 a failure that gave nothing"),
    ("update failures set answer = 'exception' where answer = 'returned'", "I13 a failure that was listed"),
    ("delete from failures where answer = 'returned'", "I27"),
    ("update suspense set line = line + 1 where account_id = 'stranger'", "I09 what is"),
    ("delete from batches where kind = 'receipts'", "I28"),
    ("update usage_days set billed = billed + 1", "I27 the billed"),
    ("update usage_days set attempts = attempts + 1", "I27 the counts of days"),
    ("update usage_days set submitted = submitted - 1, unknown = unknown - 1", "I27 the counts of days"),
    ("update usage_days set delivered = delivered + 1, unknown = unknown - 1", "I27 the counts of days"),
    ("update usage_days set failed = failed - 1, unknown = unknown + 1", "I27 the counts of days"),
    ("update usage_days set free = free + 1", "I27 the counts of days"),
    (IN_ANOTHER_PRODUCT, "Income:"),
    (
        "update postings set commodity = 'SMSI' where ledger = 'Quota:Plan' and entry_no < 4",
        "I26 a plan's units",
    ),
    ("update postings set ledger = 'Equity:Quota:Expired' where ledger = 'Equity:Quota:Issued'", "I15 each"),
    (
        "update postings set ledger = 'Quota:Pending' where ledger = 'Liabilities:VAT:Pending'",
        "I26 a plan's units",
    ),
    ("delete from job_runs where job = 'settle-receipts'", "I31"),
];

/// A cent that a plan earned is shown as earned by pay-as-you-go.
const BY_OTHERS: &str = "update postings set amount = amount + case when ledger like '%:Plan' then 10000 \
    else -10000 end \
    where ledger in ('Income:SMS:Domestic:Plan', 'Income:SMS:Domestic:Payg')";
/// What text messages earned is shown as earned by e-mail.
const IN_ANOTHER_PRODUCT: &str =
    "update postings set ledger = 'Income:Email:Payg' where ledger = 'Income:SMS:Domestic:Payg'";
/// A cent that is earned is shown as pending.
const NOT_FINAL: &str = "update postings set amount = amount + case when ledger like '%:Plan' then 10000 \
    else -10000 end \
    where ledger in ('Income:SMS:Domestic:Plan', 'Liabilities:Pending:Receipt') and entry_no = (select entry_no \
      from postings where ledger = 'Income:SMS:Domestic:Plan' and account_id = 'acme')";
/// A cent of a penalty is shown as VAT of some order.
const NO_PENALTY: &str = "update postings set amount = amount - 10000 where ledger = 'Income:Penalty'";

const OPENED_AGAIN: &str =
    "insert into open_failures (batch_no, line) select batch_no, line from failures where run_no is not null";

/// Those of these that are no account's own.
const OF_ALL: &[&str] = &[
    "update usage_days set attempts = attempts + 1",
    "update usage_days set free = free + 1",
    "update batches set rejected = rejected + 1, accepted = accepted - 1",
    OPENED_AGAIN,
    "update suspense set line = line + 1 where account_id = 'stranger'",
    "delete from batches where kind = 'receipts'",
    "update failures set line = line + 1000 where part = 0",
    "delete from job_runs where job = 'settle-receipts'",
    "update bill_months set charge_run = run_no",
    "update instance set value = '0 0' where name = 'billed_up_to'",
];

#[test]
fn a_planted_fault_is_found_and_sound_books_are_said_to_be_so() {
    on_both(|database| {
        let desk = open(&database.url);
        let sound = desk.program.run(&["audit", "--json"]).exits(0).json();
        assert_eq!((&sound["sound"], &sound["accounts"]), (&true.into(), &2.into()));
        assert_eq!((&sound["messages"], &sound["parked"]), (&309.into(), &serde_json::json!([])));
        desk.program.run(&["audit"]).exits(0).tells(&["The books are right"]);
        desk.program.run(&["audit", "--quick"]).exits(0).tells(&["The books are right"]);
        block_on(async {
            let db = store::open(&desk.url).await.expect("the database opens");
            for (fault, words) in FAULTS {
                let mut tx = db.write().await.expect("it can be written");
                let found = planted(&db, &mut tx, fault).await;
                assert!(found.iter().any(|found| found.contains(words)), "{fault}\nwas told as {found:#?}");
                let of_acme = of_account(&mut tx, "acme").await;
                assert_eq!(of_acme.is_right(), OF_ALL.contains(fault), "{fault}\n{:#?}", of_acme.findings);
                let of_other = of_account(&mut tx, "other").await;
                assert!(of_other.is_right(), "{fault}\n{:#?}", of_other.findings);
                tx.rollback().await.expect("it is taken back");
            }
            db.close().await;
        });
        desk.program.run(&["audit"]).exits(0);
    });
}

/// Faults in what was billed, invoiced and given back of a billed month.
const BILLED: &[(&str, &str)] = &[
    ("update returns set bill_month = null where money_to = 'balance'", "I25"),
    ("update returns set bill_month = bill_month + 1 where money_to = 'balance'", "I25"),
    ("update returns set bill_month = bill_month - 1 where money_to = 'balance'", "I25"),
    (
        "update bill_lines set amount = amount - 1 where kind = 'refund'",
        "I25 money for failures is on the bill",
    ),
    ("update invoices set amount = amount + 10000", "I24 an invoice"),
    ("update invoices set currency = 'USD'", "I26"),
    ("update orders set invoice_no = 7", "I24 an order"),
    ("update bills set issued_at = issued_at + 1", "I03"),
    ("update bills set last_entry = last_entry + 1 where total > 0", "I30 a bill has seen"),
    ("update bills set last_entry = last_entry - 1 where total > 0", "I30 a bill has seen"),
    ("update bills set last_entry = 0 where total = 0", "I30 a bill has seen"),
    ("update bill_months set charge_run = run_no", "I30 months"),
    ("update instance set value = '0 0' where name = 'billed_up_to'", "I30 the books"),
    ("update coupons set voided_at = 1", "I12 a coupon"),
    (
        "update postings set amount = amount - 10000 where ledger = 'Income:RoundDown'",
        "I22 what a bill leaves out",
    ),
    (IN_VAT, "refund difference"),
];

/// A cent of what giving back cost is shown as VAT.
const IN_VAT: &str = "update postings set amount = amount + case when ledger = 'Income:RefundDifference' then 10000 \
    else -10000 end where ledger in ('Income:RefundDifference', 'Liabilities:VAT:Pending') and entry_no in \
    (select entry_no from postings where ledger = 'Income:RefundDifference' and account_id = 'acme')";

/// Books with a bill, an invoice for it, and money for a failure of a billed month: of a plan that is over.
fn billed(url: &str) -> Desk {
    let mut desk = Desk::open_url(url);
    let run = |desk: &Desk, args: &[&str]| {
        let answer = desk.program.run(args);
        assert!([0, 3].contains(&answer.code), "{args:?}\n{}", answer.shown());
    };
    let jobs = ["aggregate-charges", "settle-receipts", "expire-plans", "monthly-bills"];
    let all_jobs = |desk: &Desk| jobs.iter().for_each(|job| run(desk, &["--run-job", job, "--catch-up"]));
    desk.program.at("2026-03-01T08:00:00+08:00");
    run(&desk, &["account", "add", "other", "--name", "Another"]);
    run(&desk, &["order", "place", "acme", "sms-domestic-200"]);
    run(&desk, &["coupon", "add", "acme", "5"]);
    let message = |n: usize| {
        let day = if n < 3 { "2026-03-30" } else { "2026-03-31" };
        line(&format!("m-{n}"), "acme", "verification", "1", &format!("{day}T09:{:02}:00+08:00", n % 60))
    };
    desk.program.at("2026-03-31T10:00:00+08:00");
    desk.take("m.csv", file(&(0..221).map(message).collect::<Vec<_>>()));
    run(&desk, &["--run-job", "aggregate-charges", "--catch-up"]);
    desk.program.at("2026-04-01T00:40:00+08:00");
    all_jobs(&desk);
    run(&desk, &["invoice", "issue", "acme", "--bill", "2026-03"]);
    // The plan, whose units are used up, is over when the failures are known.
    block_on(crate::support::books::change(
        &desk.url,
        "update plans set expires_at = 1774972800000000 where account_id = 'acme'",
    ));
    let failed = (0..3).map(|n| format!("m-{n},acme,failed,2026-03-31T10:00:00+08:00\n"));
    let failed =
        failed.fold("message_id,account_id,status,report_time\n".to_owned(), |all, line| all + &line);
    desk.program.at("2026-04-01T09:00:00+08:00");
    desk.program.file("r.csv", failed);
    run(&desk, &["ingest", "receipts", "r.csv"]);
    all_jobs(&desk);
    desk.program.at("2026-05-01T00:40:00+08:00");
    all_jobs(&desk);
    desk
}

#[test]
fn a_fault_in_what_was_billed_is_found() {
    on_both(|database| {
        let desk = billed(&database.url);
        desk.program.run(&["audit"]).exits(0);
        block_on(async {
            let db = store::open(&desk.url).await.expect("the database opens");
            for (fault, words) in BILLED {
                let mut tx = db.write().await.expect("it can be written");
                let found = planted(&db, &mut tx, fault).await;
                assert!(found.iter().any(|found| found.contains(words)), "{fault}\nwas told as {found:#?}");
                tx.rollback().await.expect("it is taken back");
            }
            db.close().await;
        });
    });
}

/// Faults in what the month's end made of `volume` prices.
const PRICED_ANEW: &[(&str, &str)] = &[
    (
        "update bill_lines set amount = amount - 1 where kind = 'adjustment'",
        "adjustment 202603 sms-domestic 202603 verification 60000 is -500.000001 in the books and -500.00 by a recount",
    ),
    (
        "update bill_lines set vat_ppm = 90000 where kind = 'adjustment'",
        "I25 what a bill priced anew has units",
    ),
    ("update billed_prices set class = 'notification'", "I25 what a bill priced anew has its price"),
    ("update billed_prices set unit_price = unit_price * 2", "billed 202603 sms-domestic verification"),
];

#[test]
fn a_fault_in_what_the_months_end_made_of_volume_prices_is_found() {
    on_both(|database| {
        let mut desk = Desk::open_url(&database.url);
        desk.program.configure("");
        let list = "template_types = [\"verification\", \"notification\"]\n";
        let volume = format!("{list}method = \"volume\"\n");
        let prices = include_str!("../../config/prices.toml").replacen(list, &volume, 1);
        desk.program.file("prices.toml", prices);
        let time = "2026-03-31T09:00:00+08:00";
        desk.program.at(time);
        desk.take("m.csv", file(&[line("m", "acme", "verification", "100001", time)]));
        desk.program.at("2026-04-01T00:40:00+08:00");
        for job in ["aggregate-charges", "monthly-bills"] {
            desk.program.run(&["--run-job", job, "--catch-up"]).exits(0);
        }
        desk.program.run(&["audit"]).exits(0);
        let config = Config::load(Some(&desk.program.path("quittance.toml"))).expect("the configuration");
        block_on(async {
            let db = store::open(&desk.url).await.expect("the database opens");
            for (fault, words) in PRICED_ANEW {
                let mut tx = db.write().await.expect("it can be written");
                let found = planted_under(&config, &db, &mut tx, fault).await;
                assert!(found.iter().any(|found| found.contains(words)), "{fault}\nwas told as {found:#?}");
                tx.rollback().await.expect("it is taken back");
            }
            db.close().await;
        });
    });
}

/// Plants a fault and gives what the audit says.
async fn planted(db: &Db, tx: &mut Tx, fault: &str) -> Vec<String> {
    let config = Config::built_in().expect("the shipped configuration");
    planted_under(&config, db, tx, fault).await
}

async fn planted_under(config: &Config, db: &Db, tx: &mut Tx, fault: &str) -> Vec<String> {
    for table in ["postings", "bills", "bill_lines", "invoices"] {
        let open = match db.dialect() {
            Dialect::Postgres => vec![format!("alter table {table} disable trigger all")],
            Dialect::Sqlite => {
                ["update", "delete"].map(|what| format!("drop trigger {table}_no_{what}")).to_vec()
            }
        };
        for sql in open {
            tx.execute(sql, Vec::new()).await.expect("the books can be opened");
        }
    }
    let of_acme = if OF_ALL.contains(&fault) { "true" } else { "account_id = 'acme'" };
    let and = if fault.contains(" where ") { "and" } else { "where" };
    let fault = format!("{fault} {and} {of_acme}");
    let touched = tx.execute(&*fault, Vec::new()).await.unwrap_or_else(|error| panic!("{fault}: {error:?}"));
    assert!(touched > 0, "{fault} changes nothing");
    audit(tx, config, true, &Silent).await.expect("it can be audited").doubts()
}

/// What the audit of one account says.
async fn of_account(tx: &mut Tx, id: &str) -> Audit {
    let config = Config::built_in().expect("the shipped configuration");
    let ids = [id.to_owned()];
    audit_accounts(tx, &config, &ids, Depth::Full, &Silent).await.expect("it can be audited")
}

#[test]
fn a_wrong_book_is_told_with_exit_code_1_and_where_to_begin() {
    on_both(|database| {
        let desk = open(&database.url);
        let fault = "update accounts set balance = balance + 1000000 where account_id = 'acme'";
        block_on(crate::support::books::change(&desk.url, fault));
        let answer = desk.program.run(&["audit", "--json"]).exits(1).json();
        assert_eq!(answer["sound"], false);
        let first = answer["findings"][0].as_str().expect("a finding");
        assert!(first.contains("I04 an account's balance is the sum of its postings: acme"), "{first}");
        desk.program.run(&["audit"]).exits(1).tells(&["The books are NOT right", "acme"]);
        let run = |args: &[&str], code| desk.program.run(args).exits(code);
        run(&["audit", "acme"], 1).tells(&["The books of acme are NOT right", "I04"]);
        run(&["audit", "acme", "--quick"], 1).tells(&["I04"]);
        run(&["audit", "other", "acme"], 1).tells(&["The books of acme, other are NOT right"]);
        run(&["audit", "other"], 0).tells(&["The books of other are right", "anew: 1, with 10 messages"]);
        run(&["audit", "other", "--quick"], 0).tells(&["The books of other are right"]);
        desk.program.run(&["audit", "other", "nobody", "--json"]).refuses("unknown_account");
    });
}
