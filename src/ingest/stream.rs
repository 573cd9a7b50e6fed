//! The bytes of one input: plain or gzip, counted, hashed and bounded while they stream (F58, F62).

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::IngestError;

/// What no input may exceed, so that memory and time stay bounded whatever is sent (F61, F62).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one record; beyond a gigabyte it counts as one.
    pub record: usize,
    /// Content may be this many times as large as its gzip file. Logs reach 20 to 50; the format's
    /// own limit, reached by a file of zeros, is about 1,000.
    pub ratio: u64,
    /// Bytes of the whole content.
    pub content: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { record: 1 << 20, ratio: 200, content: 1 << 40 }
    }
}

/// Small files may compress better than any limit: the ratio is judged from here on.
const RATIO_COUNTS_FROM: u64 = 16 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// The decompressed content of an input.
pub struct Content<R: Read> {
    source: Source<R>,
    hash: Sha256,
    bytes: u64,
    limits: Limits,
}

enum Source<R: Read> {
    Plain(Counted<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Counted<R>>>>),
}

impl<R: Read> Content<R> {
    /// Looks at the first bytes: gzip is known by its magic number, not by the file's name.
    pub fn open(mut reader: R, limits: Limits) -> Result<Content<R>, IngestError> {
        let mut magic = [0; GZIP_MAGIC.len()];
        let mut known = 0;
        while known < magic.len() {
            match reader.read(&mut magic[known..]) {
                Ok(0) => break,
                Ok(count) => known += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(IngestError::Unreadable { offset: known as u64, source }),
            }
        }
        let whole = Counted { reader: Cursor::new(magic[..known].to_vec()).chain(reader), bytes: 0 };
        let source = if magic == GZIP_MAGIC {
            Source::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, whole))))
        } else {
            Source::Plain(whole)
        };
        Ok(Content { source, hash: Sha256::new(), bytes: 0, limits })
    }

    /// Fills part of `buffer`; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, IngestError> {
        let count = loop {
            let result = match &mut self.source {
                Source::Plain(reader) => reader.read(buffer),
                Source::Gzip(decoder) => decoder.read(buffer),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.unreadable(source)),
                Ok(count) => break count,
            }
        };
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        self.check_size()?;
        Ok(count)
    }

    /// Bytes taken from the input itself, before decompression: what a progress bar shows.
    pub fn bytes_read(&self) -> u64 {
        match &self.source {
            Source::Plain(reader) => reader.bytes,
            Source::Gzip(decoder) => decoder.get_ref().get_ref().bytes,
        }
    }

    /// SHA-256 of the content so far: of all of it once [`Content::read`] has answered 0.
    pub fn sha256(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    fn check_size(&self) -> Result<(), IngestError> {
        if self.bytes > self.limits.content {
            return Err(IngestError::TooLarge { limit: self.limits.content });
        }
        let gzip = matches!(self.source, Source::Gzip(_));
        if gzip && self.bytes > RATIO_COUNTS_FROM && self.bytes / self.limits.ratio > self.bytes_read() {
            return Err(IngestError::GzipBomb { ratio: self.limits.ratio });
        }
        Ok(())
    }

    fn unreadable(&self, source: io::Error) -> IngestError {
        let of_the_format =
            [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
        if matches!(self.source, Source::Gzip(_)) && of_the_format.contains(&source.kind()) {
            IngestError::BadGzip { offset: self.bytes_read(), source }
        } else {
            IngestError::Unreadable { offset: self.bytes_read(), source }
        }
    }
}

/// A reader that counts what passes.
struct Counted<R> {
    reader: Chain<Cursor<Vec<u8>>, R>,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read_all(input: &[u8], limits: Limits) -> Result<(Vec<u8>, [u8; 32], u64), IngestError> {
        let mut content = Content::open(input, limits)?;
        let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok((all, content.sha256(), content.bytes_read())),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn gzip_members_read_as_one_content_with_the_hash_of_the_plain_file() {
        let plain = read_all(b"one\ntwo\n", Limits::default()).unwrap();
        let members = [gzip(b"one\n"), gzip(b"two\n")].concat();
        let packed = read_all(&members, Limits::default()).unwrap();
        assert_eq!((&plain.0, plain.1), (&packed.0, packed.1));
        assert_eq!((plain.2, packed.2), (8, members.len() as u64));
    }

    #[test]
    fn a_gzip_file_that_is_cut_off_is_refused_whole() {
        let packed = gzip(&b"message_id,account_id\n".repeat(100));
        for cut in 2..packed.len() {
            let result = read_all(&packed[..cut], Limits::default());
            assert!(matches!(result, Err(IngestError::BadGzip { .. })), "cut at {cut}");
        }
        let trailing = [packed, b"garbage".to_vec()].concat();
        assert!(matches!(read_all(&trailing, Limits::default()), Err(IngestError::BadGzip { .. })));
    }

    #[test]
    fn a_gzip_bomb_is_stopped_long_before_its_end() {
        let bomb = gzip(&vec![0; 64 << 20]);
        let mut content = Content::open(bomb.as_slice(), Limits::default()).unwrap();
        let mut buffer = vec![0; 64 << 10];
        let error = loop {
            match content.read(&mut buffer) {
                Ok(count) => assert_ne!(count, 0, "the bomb went through"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, IngestError::GzipBomb { .. }), "{error}");
        assert!(content.bytes <= RATIO_COUNTS_FROM + (64 << 10));
    }

    #[test]
    fn content_beyond_its_limit_is_refused() {
        let limits = Limits { content: 10, ..Limits::default() };
        assert!(read_all(b"0123456789", limits).is_ok());
        assert!(matches!(read_all(b"0123456789a", limits), Err(IngestError::TooLarge { limit: 10 })));
    }

    #[test]
    fn inputs_of_no_and_of_one_byte_are_read() {
        assert_eq!(read_all(b"", Limits::default()).unwrap().0, b"");
        assert_eq!(read_all(b"\x1f", Limits::default()).unwrap().0, b"\x1f");
    }
}
