//! Lists that name the first of many and count the rest.

/// What a list names one by one at most.
pub const NAMED: usize = 1_000;

/// The first of a list, and how many more there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    pub first: Vec<T>,
    pub left_out: i64,
}

impl<T> Listed<T> {
    /// Adds one, which is worked out only where it is named.
    pub fn push(&mut self, item: impl FnOnce() -> T) {
        if self.first.len() < NAMED {
            self.first.push(item());
        } else {
            self.left_out += 1;
        }
    }

    /// How many there are, named or not.
    pub fn count(&self) -> i64 {
        self.first.len() as i64 + self.left_out
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// `and 12 more`, where some are left out.
    pub fn more(&self) -> Option<String> {
        (self.left_out > 0).then(|| format!("and {} more", self.left_out))
    }
}

impl<T> Default for Listed<T> {
    fn default() -> Listed<T> {
        Listed { first: Vec::new(), left_out: 0 }
    }
}

impl<T> Extend<T> for Listed<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(|| item));
    }
}

impl<T> FromIterator<T> for Listed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Listed<T> {
        let mut listed = Listed::default();
        listed.extend(items);
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_named_and_the_rest_is_counted() {
        let all: Listed<usize> = (0..1_003).collect();
        assert_eq!((all.first.len(), all.left_out, all.more()), (1_000, 3, Some("and 3 more".into())));
        let few: Listed<usize> = (0..2).collect();
        assert_eq!((few.first, few.left_out), (vec![0, 1], 0));
    }
}
