//! Notices between the books and the ways out: which ways a notice takes, to whom, and what its texts are
//! given. Shared by the job that sends and by the desk that shows.

use crate::config::Config;
use crate::config::notices::Notices;
use crate::domain::account::Status;
use crate::domain::notice::Channel;
use crate::domain::period::Timestamp;
use crate::notify::{Answer, Parcel, Told};
use crate::store::accounts::AccountRow;
use crate::store::deliveries::{DeliveryRow, New, Way};
use crate::store::notices::NoticeRow;

/// The ways of a notice: by each channel that is set up and wanted, to each receiver that has an address.
/// None out of the house to closed accounts.
pub fn ways(config: &Config, new: &New, now: Timestamp) -> Vec<Way> {
    let notices = &config.notices;
    let New { notice, account, settings } = new;
    let give_up = notices.give_up_hours.saturating_mul(Timestamp::HOUR);
    let is_past = told(config, notice, account.as_ref()).is_past(now);
    let outdated = is_past || now.0 - notice.due.max(notice.at).0 >= give_up;
    let usual = notices.channels_of(notice.kind);
    let mut ways = Vec::new();
    for channel in Channel::ALL.iter().copied().filter(|channel| *channel != Channel::Inbox) {
        let wanted = settings.said(notice.kind, channel).unwrap_or_else(|| usual.contains(&channel));
        if !wanted || !notices.has(channel) {
            continue;
        }
        let targets = match account {
            Some(account) if account.status == Status::Closed => Vec::new(),
            Some(account) => account_target(account, channel),
            None if !notice.account_id.is_empty() => Vec::new(),
            None => operator_targets(notices, channel),
        };
        ways.extend(targets.into_iter().map(|target| Way { channel, target, outdated }));
    }
    ways
}

/// An account has one address for each channel, which is looked up when it is written to.
fn account_target(account: &AccountRow, channel: Channel) -> Vec<String> {
    let has_one = match channel {
        Channel::Email => account.email.is_some(),
        Channel::Sms => account.phone.is_some(),
        Channel::Webhook | Channel::Inbox => true,
    };
    if has_one { vec![String::new()] } else { Vec::new() }
}

fn operator_targets(notices: &Notices, channel: Channel) -> Vec<String> {
    match channel {
        Channel::Email => notices.operator.clone(),
        Channel::Webhook => vec![String::new()],
        Channel::Sms | Channel::Inbox => Vec::new(),
    }
}

/// A notice with its account, as texts need it.
pub fn told(config: &Config, notice: &NoticeRow, account: Option<&AccountRow>) -> Told {
    let mut told = Told {
        books: String::new(),
        kind: notice.kind,
        subject: notice.subject.clone(),
        due: notice.due,
        at: notice.at,
        facts: notice.facts.clone(),
        account_id: notice.account_id.clone(),
        name: account.map_or("operator", |account| account.name.as_str()).to_owned(),
        currency: account.map_or("", |account| account.currency.as_str()).to_owned(),
        locale: account.map_or(&config.notices.operator_locale, |account| &account.locale).to_owned(),
        zone: config.zone,
        unit: String::new(),
    };
    told.unit = told.text("product").map_or("unit", |product| config.unit_word(product)).to_owned();
    told
}

/// What is sent for a delivery; what comes with it is put in by who draws it.
///
/// # Errors
/// What becomes of it unsent: the account was closed, or has no address left; what it announces has come
/// while it waited, or it waited too long (F32).
pub fn parcel(config: &Config, row: &DeliveryRow, now: Timestamp) -> Result<Parcel, Answer> {
    let account = row.account.as_ref();
    if account.is_some_and(|account| account.status == Status::Closed) {
        return Err(Answer::Never("the account is closed".to_owned()));
    }
    let told = told(config, &row.notice, account);
    if told.is_past(now) {
        return Err(Answer::TooLate("what it announces came while it waited".to_owned()));
    }
    let give_up = config.notices.give_up_hours;
    if now.0 - row.since.0 >= give_up.saturating_mul(Timestamp::HOUR) {
        let error = row.error.as_deref().unwrap_or("nobody tried to send it");
        return Err(Answer::Never(format!("given up after {give_up} hours: {error}")));
    }
    let address = match (row.key.channel, account) {
        (Channel::Email, Some(account)) => account.email.clone(),
        (Channel::Sms, Some(account)) => account.phone.clone(),
        (Channel::Email, None) => Some(row.key.target.clone()),
        _ => Some(String::new()),
    };
    let gone = || Answer::Never("the account has no address for it any more".to_owned());
    let (address, target) = (address.ok_or_else(gone)?, row.key.target.clone());
    Ok(Parcel { told, address, target, attached: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::notices::{Mail, MailRoute};
    use crate::domain::account::{Funds, Kind};
    use crate::domain::notice::NoticeKind;
    use crate::notify::address::Mailbox;
    use crate::store::notices::Settings;

    fn config() -> Config {
        let mut config = Config::built_in().unwrap();
        let from = Mailbox::parse("billing@example.com").unwrap();
        let route = MailRoute::Dir("mail".into());
        config.notices.mail = Some(Mail { from, unsubscribe: None, route });
        config.notices.operator = vec!["a@example.com".to_owned(), "b@example.com".to_owned()];
        config
    }

    fn account() -> AccountRow {
        AccountRow {
            account_id: "acme".to_owned(),
            name: "Acme".to_owned(),
            kind: Kind::Enterprise,
            currency: "CNY".to_owned(),
            email: Some("acme@example.com".to_owned()),
            phone: Some("+8613800000000".to_owned()),
            locale: "en".to_owned(),
            status: Status::Active,
            funds: Funds::default(),
            verified_at: None,
            created_at: Timestamp(0),
            orders: 0,
            plans: 0,
            entries: 0,
            penalties: 0,
            held: None,
            closed_at: None,
            verified_region: None,
        }
    }

    fn new(kind: NoticeKind, account: Option<AccountRow>) -> New {
        let account_id = account.as_ref().map(|account| account.account_id.clone()).unwrap_or_default();
        let (due, at) = (Timestamp(0), Timestamp(0));
        let (subject, facts) = (String::new(), Vec::new());
        let notice = NoticeRow { notice_no: 1, account_id, kind, subject, due, at, facts, read_at: None };
        New { notice, account, settings: Settings::default() }
    }

    fn targets(new: &New) -> Vec<(Channel, String)> {
        ways(&config(), new, Timestamp(1)).into_iter().map(|way| (way.channel, way.target)).collect()
    }

    #[test]
    fn closed_accounts_and_those_without_an_address_get_no_letters() {
        let open = new(NoticeKind::BillReady, Some(account()));
        assert_eq!(targets(&open), [(Channel::Email, String::new())]);
        let closed = AccountRow { status: Status::Closed, ..account() };
        assert_eq!(targets(&new(NoticeKind::BillReady, Some(closed))), []);
        let silent = AccountRow { email: None, ..account() };
        assert_eq!(targets(&new(NoticeKind::BillReady, Some(silent))), []);
    }

    #[test]
    fn every_address_of_the_operator_gets_its_own_letter() {
        let addresses: Vec<_> =
            targets(&new(NoticeKind::JobFailed, None)).into_iter().map(|way| way.1).collect();
        assert_eq!(addresses, ["a@example.com", "b@example.com"]);
    }

    #[test]
    fn what_an_account_wants_comes_before_what_is_usual() {
        let mut notice = new(NoticeKind::BillReady, Some(account()));
        notice.settings.0.push((None, Channel::Email, false));
        assert_eq!(targets(&notice), []);
        // A channel that is not set up can't be wanted.
        notice.settings.0.push((None, Channel::Sms, true));
        assert_eq!(targets(&notice), []);
    }
}
