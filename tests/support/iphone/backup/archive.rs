//! Binary property lists of a few small objects, written straight away: a phone with 100,000 files makes as many.

/// A binary property list that is being written; an object is known by its number.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Archive {
    /// One without objects.
    pub fn new() -> Self {
        let mut archive = Self { bytes: Vec::with_capacity(1024), offsets: Vec::with_capacity(64) };
        archive.bytes.extend_from_slice(b"bplist00");
        archive
    }

    /// A number.
    pub fn integer(&mut self, number: i64) -> u8 {
        self.begin();
        self.put_integer(number);
        self.number()
    }

    /// A text.
    pub fn text(&mut self, text: &str) -> u8 {
        self.begin();
        if text.is_ascii() {
            self.head(0x50, text.len());
            self.bytes.extend_from_slice(text.as_bytes());
        } else {
            let units: Vec<u16> = text.encode_utf16().collect();
            self.head(0x60, units.len());
            self.bytes.extend(units.iter().flat_map(|unit| unit.to_be_bytes()));
        }
        self.number()
    }

    /// Bytes.
    pub fn data(&mut self, data: &[u8]) -> u8 {
        self.begin();
        self.head(0x40, data.len());
        self.bytes.extend_from_slice(data);
        self.number()
    }

    /// A reference of a keyed archive to its object of this number.
    pub fn uid(&mut self, uid: u8) -> u8 {
        self.begin();
        self.bytes.extend_from_slice(&[0x80, uid]);
        self.number()
    }

    /// A list of objects.
    pub fn array(&mut self, objects: &[u8]) -> u8 {
        self.begin();
        self.head(0xa0, objects.len());
        self.bytes.extend_from_slice(objects);
        self.number()
    }

    /// A dictionary of objects by names.
    pub fn dictionary(&mut self, entries: &[(&str, u8)]) -> u8 {
        let keys: Vec<u8> = entries.iter().map(|(key, _)| self.text(key)).collect();
        self.begin();
        self.head(0xd0, entries.len());
        self.bytes.extend_from_slice(&keys);
        self.bytes.extend(entries.iter().map(|(_, value)| value));
        self.number()
    }

    /// The whole, of which this object is the root.
    pub fn finish(mut self, root: u8) -> Vec<u8> {
        let table = self.bytes.len() as u64;
        for offset in &self.offsets {
            let offset = u32::try_from(*offset).expect("these are small objects");
            self.bytes.extend_from_slice(&offset.to_be_bytes());
        }
        // Five bytes of nothing, no sort order, four bytes an offset, one byte a number of an object.
        self.bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 4, 1]);
        for number in [self.offsets.len() as u64, root.into(), table] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        self.bytes
    }

    fn begin(&mut self) {
        self.offsets.push(self.bytes.len());
    }

    fn number(&self) -> u8 {
        u8::try_from(self.offsets.len() - 1).expect("these are few objects")
    }

    fn head(&mut self, kind: u8, length: usize) {
        match u8::try_from(length) {
            Ok(length @ 0..15) => self.bytes.push(kind | length),
            _ => {
                self.bytes.push(kind | 15);
                self.put_integer(i64::try_from(length).expect("it is in memory"));
            }
        }
    }

    fn put_integer(&mut self, number: i64) {
        if let Ok(number) = u8::try_from(number) {
            self.bytes.extend_from_slice(&[0x10, number]);
        } else if let Ok(number) = u32::try_from(number) {
            self.bytes.push(0x12);
            self.bytes.extend_from_slice(&number.to_be_bytes());
        } else {
            self.bytes.push(0x13);
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
}
