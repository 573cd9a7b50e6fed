//! Every letter, in each language, with the longest that it can hold, as it goes out.
//!
//! `UPDATE_GOLDENFILES=1 cargo test --test it letters` writes them anew, for review.

use std::fmt::Write as _;
use std::path::Path;

use quittance::config::notices::{LOCALES, Mail, MailRoute};
use quittance::domain::notice::NoticeKind;
use quittance::domain::period::{Timestamp, Zone};
use quittance::notify::address::Mailbox;
use quittance::notify::sample::{self, Size};
use quittance::notify::templates::{Part, Templates};
use quittance::notify::{Attached, Parcel, letter};

#[test]
fn every_letter_goes_out_as_it_was_reviewed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/letters");
    let update = std::env::var_os("UPDATE_GOLDENFILES").is_some();
    let zone = Zone::parse("Asia/Shanghai").unwrap();
    let templates = Templates::built_in();
    let mail = Mail {
        from: Mailbox::parse("云通讯 Billing <billing@example.com>").unwrap(),
        unsubscribe: Some("mailto:billing@example.com?subject=stop".to_owned()),
        route: MailRoute::Dir("mail".into()),
    };
    let now = Timestamp::parse_rfc3339("2026-03-01T09:00:00+08:00").unwrap();
    let mut faults = Vec::new();
    for kind in NoticeKind::ALL {
        for locale in LOCALES {
            let told = sample::told(*kind, locale, zone, Size::Longest);
            // Bills are drawn elsewhere: what stands for one shows how it is carried.
            let bill =
                Attached { name: "bill-acme-2026-02.pdf".to_owned(), pdf: b"%PDF-\n\xff\n%%EOF\n".into() };
            let attached = (*kind == NoticeKind::BillReady).then_some(bill);
            let address = "buchhaltung@example.com".to_owned();
            let parcel = Parcel { told, address, target: String::new(), attached };
            let written = letter::write(&mail, &templates, &parcel, now).unwrap();
            let text = written.text;
            assert!(text.is_ascii(), "{} {locale}", kind.as_str());
            assert!(text.lines().all(|line| line.len() <= 998), "{} {locale}", kind.as_str());
            compare(
                &root,
                &format!("{}.{locale}.eml", kind.as_str()),
                &text.replace("\r\n", "\n"),
                update,
                &mut faults,
            );
        }
    }
    assert!(faults.is_empty(), "{} differ: {}", faults.len(), faults.join(", "));
}

/// What people read, in one page: the words of each notice with usual data.
#[test]
fn the_words_of_every_notice_are_as_they_were_reviewed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/letters");
    let zone = Zone::parse("Asia/Shanghai").unwrap();
    let templates = Templates::built_in();
    let mut faults = Vec::new();
    for locale in LOCALES {
        let mut page = String::new();
        for (kind, size) in NoticeKind::ALL.iter().flat_map(|kind| [(kind, Size::Usual), (kind, Size::None)])
        {
            let told = sample::told(*kind, locale, zone, size);
            let [subject, text] =
                [Part::Subject, Part::Text].map(|part| templates.part(&told, part).unwrap());
            let _ = write!(page, "=== {} {size:?}\n{subject}\n---\n{text}", kind.as_str());
            if !kind.is_for_operator() {
                let _ = write!(page, "---\n{}\n", templates.part(&told, Part::Sms).unwrap());
            }
        }
        let update = std::env::var_os("UPDATE_GOLDENFILES").is_some();
        compare(&root, &format!("words.{locale}.txt"), &page, update, &mut faults);
    }
    assert!(faults.is_empty(), "{faults:?}");
}

fn compare(root: &Path, name: &str, text: &str, update: bool, faults: &mut Vec<String>) {
    let file = root.join(name);
    let kept = std::fs::read_to_string(&file).unwrap_or_default().replace("\r\n", "\n");
    if kept == text {
        return;
    }
    if update {
        std::fs::create_dir_all(root).unwrap();
        std::fs::write(&file, text).unwrap();
    } else {
        faults.push(name.to_owned());
    }
}
