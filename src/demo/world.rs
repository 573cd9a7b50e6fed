//! The sample month of `quittance demo`: invented companies, what they buy and what they send.
//!
//! Pure: the same seed gives the same bytes on every machine. Messages are drawn lazily in the
//! order of their submit times, so a month of any size needs no more memory than its accounts.

mod customers;
mod dice;

use std::fmt::Write;

pub use customers::{Funding, SampleAccount, Traffic};
use dice::Dice;

use crate::domain::period::{Month, Timestamp, WINDOW, Zone};

/// One month of a provider of SMS and e-mail sending.
pub struct World {
    /// By traffic, the busiest first.
    pub accounts: Vec<SampleAccount>,
    seed: u64,
    zone: Zone,
    start: Timestamp,
    end: Timestamp,
    messages: u64,
    /// The shares of the accounts summed up: a draw below the last belongs to one account.
    shares: Vec<u64>,
}

/// One line of a gateway's message file.
pub struct SampleMessage<'a> {
    pub message_id: u128,
    pub account_id: &'a str,
    pub channel: &'static str,
    pub direction: &'static str,
    pub country: &'static str,
    pub template_type: &'static str,
    /// Signature and text; empty where the gateway tells only the length.
    pub content: String,
    pub content_units: Option<u64>,
    pub encoding: &'static str,
    pub submit_time: Timestamp,
    pub submit_status: &'static str,
    pub reject_code: &'static str,
    zone: Zone,
}

/// Draws a month of `messages` messages by `accounts` accounts. Whole days, day and night follow
/// the billing zone.
pub fn world(seed: u64, month: Month, zone: Zone, accounts: usize, messages: usize) -> World {
    let (start, end) = (zone.month_start(month), zone.month_start(month.next()));
    let total: u64 = (0..accounts as u64).map(share).sum();
    let accounts: Vec<SampleAccount> = (0..accounts as u64)
        .map(|rank| {
            SampleAccount::draw(seed, rank, start, month, messages as u64 * share(rank) / total.max(1))
        })
        .collect();
    let shares = (0..accounts.len() as u64)
        .scan(0, |sum, rank| {
            *sum += share(rank);
            Some(*sum)
        })
        .collect();
    World { accounts, seed, zone, start, end, messages: messages as u64, shares }
}

/// The traffic of the account of a rank, after Zipf: the second sends about half of the first,
/// with a flatter head, so that no single account drowns the others.
fn share(rank: u64) -> u64 {
    1_000_000 / (rank + 4)
}

/// What a day sends, hour by hour: little at night, a morning peak, an evening that shops.
const HOURS: [u64; 24] =
    [3, 2, 1, 1, 1, 2, 5, 10, 18, 24, 26, 25, 20, 20, 23, 25, 25, 26, 25, 26, 24, 18, 10, 5];

impl World {
    /// All messages of the month in the order of their submit times.
    pub fn messages(&self) -> impl Iterator<Item = SampleMessage<'_>> {
        let windows = (self.end.0 - self.start.0) / WINDOW;
        let start_of = |window: i64| self.start.plus_micros(window * WINDOW);
        let total: u64 = (0..windows).map(|window| HOURS[self.local_hour(start_of(window))]).sum();
        let mut weight = 0;
        (0..windows).flat_map(move |window| {
            let start = start_of(window);
            let hour = self.local_hour(start);
            // Shares of the running sum, so that rounding never loses a message of the month.
            let before = self.messages * weight / total;
            weight += HOURS[hour];
            let count = self.messages * weight / total - before;
            let mut dice = Dice::of(self.seed, 1 + window as u64);
            (0..count).map(move |i| {
                let into = (i * WINDOW as u64 + dice.below(WINDOW as u64)) / count;
                self.message(start.plus_micros(into as i64), hour, &mut dice)
            })
        })
    }

    fn local_hour(&self, at: Timestamp) -> usize {
        let local = self.zone.format(at);
        local.get(11..13).and_then(|hour| hour.parse().ok()).unwrap_or(0)
    }

    fn message(&self, at: Timestamp, hour: usize, dice: &mut Dice) -> SampleMessage<'_> {
        let draw = dice.below(self.shares.last().copied().unwrap_or(1));
        let account = self.accounts.get(self.shares.partition_point(|&sum| sum <= draw));
        let mut message = SampleMessage {
            message_id: message_id(at, dice),
            // A few lines name a customer nobody knows: they wait in suspense (D42).
            account_id: account.filter(|_| !dice.one_in(5_000)).map_or("acct-unknown", |a| &a.id),
            channel: "sms",
            direction: "mt",
            country: "CN",
            template_type: "notification",
            content: String::new(),
            content_units: None,
            encoding: "",
            submit_time: at,
            submit_status: "accepted",
            reject_code: "",
            zone: self.zone,
        };
        if let Some(account) = account {
            message.fill(account, hour, dice);
        }
        message
    }
}

impl SampleMessage<'_> {
    /// The first line of a file of messages.
    pub const CSV_HEADER: &'static str = "message_id,account_id,channel,direction,country,template_type,\
        content,content_units,encoding,submit_time,submit_status,reject_code\n";

    /// Adds the message as one line in the order of [`Self::CSV_HEADER`], its times in the billing zone.
    pub fn write_csv(&self, out: &mut String) {
        let id = self.uuid();
        let units = self.content_units.map_or(String::new(), |units| units.to_string());
        let content = match self.content.contains([',', '"']) {
            true => format!("\"{}\"", self.content.replace('"', "\"\"")),
            false => self.content.clone(),
        };
        let time = self.zone.format(self.submit_time);
        let SampleMessage { account_id, channel, direction, country, template_type, .. } = self;
        let SampleMessage { encoding, submit_status, reject_code, .. } = self;
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "{id},{account_id},{channel},{direction},{country},{template_type},\
             {content},{units},{encoding},{time},{submit_status},{reject_code}"
        );
    }

    /// The first line of a file of receipts.
    pub const RECEIPT_HEADER: &'static str = "message_id,account_id,status,report_time\n";

    /// The carrier's receipt as one line, and when it comes, if there is one: none for inbound and
    /// refused messages and for one in 70 others, a failure for one in 30. A tenth is late, by hours.
    pub fn receipt(&self) -> Option<(Timestamp, String)> {
        let mut dice = Dice::of(self.message_id as u64, 0);
        if self.direction == "mo" || self.submit_status != "accepted" || dice.one_in(70) {
            return None;
        }
        let status = if dice.one_in(30) { "failed" } else { "delivered" };
        let within = if dice.one_in(10) { 20 * Timestamp::HOUR } else { 2 * Timestamp::MINUTE };
        let after = Timestamp::MINUTE / 60 + dice.below(within as u64) as i64;
        let at = self.submit_time.plus_micros(after);
        Some((at, format!("{},{},{status},{}\n", self.uuid(), self.account_id, self.zone.format(at))))
    }

    fn uuid(&self) -> String {
        let hex = format!("{:032x}", self.message_id);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    fn fill(&mut self, account: &SampleAccount, hour: usize, dice: &mut Dice) {
        let Traffic { email, international, verification, promotional, long } = account.traffic;
        if account.currency == "CNY" && dice.one_in(200) {
            // Customers answer ("TD" ends promotional messages): inbound is free (R97).
            (self.direction, self.template_type) = ("mo", "");
            (self.content_units, self.encoding) = (Some(2), "DOM");
            return;
        }
        let kind = dice.below(100);
        self.template_type = match kind {
            _ if kind < verification => "verification",
            // Advertising rests at night.
            _ if kind < verification + promotional && (8..21).contains(&hour) => "promotional",
            _ => "notification",
        };
        let way = dice.below(100);
        if way < email {
            (self.channel, self.country) = ("email", "");
            return;
        }
        if way < email + international {
            self.country = dice.pick(COUNTRIES);
        } else if account.kind == "individual" && dice.one_in(400) {
            // Individuals may not advertise: held in suspense until someone looks (R70, D68).
            self.template_type = "promotional";
        }
        self.measure(account, dice.below(100) < long, dice);
        (self.submit_status, self.reject_code) = match dice.below(1_000) {
            0..6 => ("rejected", "throttled"),
            6..8 => ("rejected", "blacklist"),
            _ => ("accepted", ""),
        };
    }

    /// Gives a text message its length, and one in 30 a real text.
    fn measure(&mut self, account: &SampleAccount, long: bool, dice: &mut Dice) {
        let home = self.country == "CN";
        if dice.one_in(30) {
            let texts = TEXTS.iter().filter(|t| t.template_type == self.template_type && t.chinese == home);
            let texts: Vec<&Text> = texts.collect();
            let text = dice.pick(&texts).text.replace("{}", &format!("{:06}", dice.below(1_000_000)));
            let brand = &account.name;
            self.content = if home { format!("【{brand}】{text}") } else { format!("[{brand}] {text}") };
            return;
        }
        self.encoding = if home {
            "DOM"
        } else if dice.below(10) < 7 {
            "GSM-7"
        } else {
            "UCS-2"
        };
        let (short, longest) = if self.encoding == "GSM-7" { (160, 459) } else { (70, 268) };
        let units = if long { short + 1 + dice.below(longest - short) } else { 18 + dice.below(short - 17) };
        self.content_units = Some(units);
    }
}

/// A UUID of version 7: the milliseconds of the submit time, then chance.
fn message_id(at: Timestamp, dice: &mut Dice) -> u128 {
    let millis = at.0.div_euclid(1_000) as u128;
    let (short, long) = (u128::from(dice.bits() >> 52), u128::from(dice.bits() >> 2));
    millis << 80 | 0x7 << 76 | short << 64 | 0b10 << 62 | long
}

/// Countries that every sample price list has.
const COUNTRIES: &[&str] = &["HK", "SG", "PH", "ID", "AU", "DE", "FR", "BR", "AE", "PK"];

struct Text {
    template_type: &'static str,
    chinese: bool,
    text: &'static str,
}

const fn text(template_type: &'static str, chinese: bool, text: &'static str) -> Text {
    Text { template_type, chinese, text }
}

/// `{}` becomes six digits.
const TEXTS: &[Text] = &[
    text("verification", true, "您的验证码是{},5分钟内有效,请勿告诉他人。"),
    text("verification", true, "登录验证码:{}。如非本人操作,请忽略本短信。"),
    text("verification", false, "Your code is {}. It is valid for 5 minutes."),
    text("verification", false, "{} is your sign-in code. Never share it, not even with us."),
    text("notification", true, "您的订单{}已发货,预计明天送达。"),
    text(
        "notification",
        true,
        "您预约的订单{}已确认,请于周六上午9点30分携带身份证到前台办理登记。如需改期,\
         请提前24小时致电客服或在小程序“我的预约”中修改,逾期未到将自动取消,感谢您的理解与支持。",
    ),
    text("notification", false, "Your parcel {} is on its way and arrives tomorrow."),
    text("notification", false, "Réservation {} confirmée. À bientôt !"),
    text("promotional", true, "会员日全场八折,凭券码{}再减20元,退订回T。"),
    text("promotional", false, "Members' day: 20% off everything with code {}. Reply STOP to opt out."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn march(seed: u64) -> World {
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        world(seed, "2026-03".parse().unwrap(), zone, 2_000, 20_000)
    }

    fn month_as_text(world: &World) -> String {
        let accounts = world.accounts.iter().map(|a| format!("{} {:?} {:?}\n", a.name, a.top_ups, a.orders));
        let mut out: String = accounts.collect();
        for message in world.messages() {
            message.write_csv(&mut out);
            out.extend(message.receipt().map(|(_, line)| line));
        }
        out
    }

    /// FNV-1a: a fingerprint that needs no crate.
    fn fingerprint(text: &str) -> u64 {
        text.bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let text = month_as_text(&march(7));
        assert_eq!(text, month_as_text(&march(7)));
        assert_ne!(text, month_as_text(&march(8)));
        assert_eq!(fingerprint(&text), 0x1bb1_7ae5_d808_58d2, "the sample month changed");
    }

    #[test]
    fn all_messages_are_of_the_month_and_in_order() {
        let world = march(7);
        let times: Vec<Timestamp> = world.messages().map(|m| m.submit_time).collect();
        assert_eq!(times.len(), 20_000);
        assert!(times.is_sorted());
        assert!(times[0] >= world.start && times[19_999] < world.end);
        let at_hour = |hour| times.iter().filter(|t| world.local_hour(**t) == hour).count();
        assert!(at_hour(10) > 10 * at_hour(3));
    }

    #[test]
    fn message_ids_are_unique_and_of_version_7() {
        let world = march(7);
        let mut ids: Vec<u128> = world.messages().map(|m| m.message_id).collect();
        assert!(ids.iter().all(|id| id >> 76 & 0xf == 7 && id >> 62 & 3 == 2));
        let first = world.messages().next().unwrap();
        assert_eq!((first.message_id >> 80) as i64, first.submit_time.0 / 1_000);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 20_000);
    }

    #[test]
    fn every_kind_of_line_occurs() {
        let world = march(7);
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        for m in world.messages() {
            for trait_ in [m.channel, m.direction, m.template_type, m.encoding, m.reject_code, m.country] {
                *seen.entry(trait_.to_owned()).or_default() += 1;
            }
            *seen.entry(format!("known {}", m.account_id != "acct-unknown")).or_default() += 1;
            *seen.entry(format!("text {} {}", m.country == "CN", !m.content.is_empty())).or_default() += 1;
            let account = world.accounts.iter().find(|a| a.id == m.account_id);
            if account.is_some_and(|a| a.kind == "individual") && m.template_type == "promotional" {
                *seen.entry("individual promotional".to_owned()).or_default() += 1;
            }
            assert!(account.is_none_or(|a| a.currency == "CNY" || m.country != "CN"), "no USD price at home");
        }
        let kinds = "sms,email,mt,mo,verification,notification,promotional,DOM,GSM-7,UCS-2,throttled,blacklist,\
            HK,PK,known false,text true true,text false true,individual promotional";
        for kind in kinds.split(',') {
            assert!(seen.contains_key(kind), "no {kind} among {seen:?}");
        }
    }

    #[test]
    fn accounts_tell_every_story_of_funding() {
        let world = march(7);
        let count = |funding| world.accounts.iter().filter(|a| a.funding == funding).count();
        assert_eq!(count(Funding::Overdue), 1);
        for funding in [Funding::PayAsYouGo, Funding::Plan, Funding::PlanInMidMonth, Funding::SeveralPlans] {
            assert!(count(funding) > 100, "{funding:?}");
        }
        for account in &world.accounts {
            assert!(account.top_ups.is_sorted_by_key(|t| t.0), "{}", account.id);
            assert!(account.top_ups.iter().all(|t| t.0 >= world.start && t.0 < world.end));
            assert!(account.orders.iter().all(|o| o.0 > account.top_ups[0].0 && o.0 < world.end));
        }
    }

    #[test]
    fn every_template_type_has_texts_at_home_and_abroad() {
        for template_type in ["verification", "notification", "promotional"] {
            for chinese in [true, false] {
                assert!(TEXTS.iter().any(|t| t.template_type == template_type && t.chinese == chinese));
            }
        }
    }

    #[test]
    fn receipts_follow_their_messages_and_about_one_in_thirty_fails() {
        let (mut all, mut failed) = (0, 0);
        for message in march(7).messages() {
            let Some((at, line)) = message.receipt() else { continue };
            assert!(at > message.submit_time && line.starts_with(&message.uuid()));
            assert_eq!((message.submit_status, message.direction), ("accepted", "mt"));
            all += 1;
            failed += i32::from(line.contains(",failed,"));
        }
        assert!((500..800).contains(&failed), "{failed} of {all}");
        assert!((19_000..19_900).contains(&all));
    }

    #[test]
    fn a_text_with_a_comma_stays_one_field() {
        let world = march(7);
        let mut message = world.messages().next().unwrap();
        message.content = "a,\"b\"".to_owned();
        let mut line = String::new();
        message.write_csv(&mut line);
        assert!(line.contains(",\"a,\"\"b\"\"\","), "{line}");
    }
}
