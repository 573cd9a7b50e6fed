//! A sum over rows that does not depend on their order, and to which rows can be added that are no longer
//! kept: the SHA-256 of each row as a number of 256 bits, added up, what is carried beyond them left out.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::dialect::Field;

/// How many rows there are, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSum {
    pub count: i64,
    /// The lowest first.
    limbs: [u64; 4],
}

impl RowSum {
    pub fn add(&mut self, row: &[Field<'_>]) {
        let mut hash = Sha256::new();
        hash_row(&mut hash, row);
        let bytes = hash.finalize();
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
            *limb = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        self.add_sum(RowSum { count: 1, limbs });
    }

    pub fn add_sum(&mut self, more: RowSum) {
        self.count += more.count;
        let mut carry = false;
        for (limb, more) in self.limbs.iter_mut().zip(more.limbs) {
            let (sum, over) = limb.overflowing_add(more);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, over || over_again);
        }
    }
}

/// Adds a row's fields to a hash.
pub fn hash_row(hash: &mut Sha256, row: &[Field<'_>]) {
    for field in row {
        match field {
            Field::Int(value) => hash.update(format!("{value}\t")),
            // Lengths first: no text can pass for two.
            Field::Text(text) => hash.update(format!("{}:{text}\t", text.len())),
            Field::Null => hash.update("-\t"),
        }
    }
    hash.update("\n");
}

/// `2 0123..`: the count, and the sum in hexadecimal.
impl fmt::Display for RowSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.count)?;
        self.limbs.iter().rev().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

impl FromStr for RowSum {
    type Err = String;

    fn from_str(text: &str) -> Result<RowSum, String> {
        let fault = || format!("`{text}` is no sum of rows");
        let (count, hex) = text.split_once(' ').ok_or_else(fault)?;
        let mut sum = RowSum { count: count.parse().map_err(|_| fault())?, limbs: [0; 4] };
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(fault());
        }
        for (place, limb) in sum.limbs.iter_mut().rev().enumerate() {
            *limb = u64::from_str_radix(&hex[place * 16..place * 16 + 16], 16).map_err(|_| fault())?;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[i64]) -> RowSum {
        let mut sum = RowSum::default();
        rows.iter().for_each(|row| sum.add(&[Field::Int(*row), Field::Text("x")]));
        sum
    }

    #[test]
    fn neither_order_nor_cuts_matter_and_every_row_does() {
        let all = sum(&[1, 2, 3, 4]);
        assert_eq!(all, sum(&[4, 2, 1, 3]));
        let mut parts = sum(&[3, 1]);
        parts.add_sum(sum(&[4, 2]));
        assert_eq!(all, parts);
        assert_ne!(all, sum(&[1, 2, 3, 5]));
        assert_ne!(sum(&[1]), sum(&[1, 1]));
    }

    #[test]
    fn a_sum_is_read_as_it_was_written_and_carries_go_on() {
        let mut all = RowSum { count: 1, limbs: [u64::MAX; 4] };
        assert_eq!(all.to_string(), format!("1 {}", "f".repeat(64)));
        all.add_sum(RowSum { count: 1, limbs: [1, 0, 0, 0] });
        assert_eq!(all, RowSum { count: 2, limbs: [0; 4] });
        let some = sum(&[7, 8]);
        assert_eq!(some.to_string().parse(), Ok(some));
        for wrong in ["", "1", "x 00", "1 00", &format!("1 {}", "é".repeat(32))] {
            assert!(wrong.parse::<RowSum>().is_err(), "{wrong}");
        }
    }
}
