//! Lines of messages to hand in, in the canonical schema.

/// A header with which a line needs no content: the source counts the units.
pub const HEADER: &str =
    "message_id,account_id,channel,country,template_type,sms_size,submit_time,submit_status\n";

/// An accepted message within China.
pub fn line(id: &str, account: &str, template_type: &str, units: &str, time: &str) -> String {
    format!("{id},{account},sms,CN,{template_type},{units},{time},accepted\n")
}

/// A verification message of one unit at 09:00 on the first of March.
pub fn plain(id: &str) -> String {
    line(id, "acme", "verification", "1", "2026-03-01T09:00:00+08:00")
}

/// A file of the given lines.
pub fn file(lines: &[String]) -> String {
    format!("{HEADER}{}", lines.concat())
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
