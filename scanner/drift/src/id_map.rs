//! A sorted map by the id of a finding, for a million entries.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::FindingId;

/// Entries of a chunk at most.
const CHUNK: usize = 128;

/// A map by the id of a finding, in the order of the ids.
///
/// Sorted chunks of entries. Ids are digests, so a tree of small nodes would be visited in no order and
/// filled to two thirds. Entries that come in order fill each chunk to the last place, and a look-up
/// reads two arrays.
#[derive(Clone)]
pub struct IdMap<V> {
    /// No chunk is empty.
    chunks: Vec<Vec<(FindingId, V)>>,
    /// The first id of each chunk.
    firsts: Vec<FindingId>,
    len: usize,
}

/// Where an id is, or belongs.
struct Place {
    chunk: usize,
    entry: Result<usize, usize>,
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self { chunks: Vec::new(), firsts: Vec::new(), len: 0 }
    }
}

impl<V> IdMap<V> {
    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn find(&self, id: &FindingId) -> Place {
        // What is below the first of all belongs into the first chunk.
        let chunk = self.firsts.partition_point(|first| first <= id).saturating_sub(1);
        let entries = self.chunks.get(chunk).map_or(&[][..], Vec::as_slice);
        Place { chunk, entry: entries.binary_search_by(|(known, _)| known.cmp(id)) }
    }

    /// The entry of an id.
    #[must_use]
    pub fn get(&self, id: &FindingId) -> Option<&V> {
        let place = self.find(id);
        self.chunks.get(place.chunk)?.get(place.entry.ok()?).map(|(_, v)| v)
    }

    /// The entry of an id, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, id: &FindingId) -> Option<&mut V> {
        let place = self.find(id);
        self.chunks.get_mut(place.chunk)?.get_mut(place.entry.ok()?).map(|(_, v)| v)
    }

    /// Whether there is an entry of this id.
    #[must_use]
    pub fn contains_key(&self, id: &FindingId) -> bool {
        self.find(id).entry.is_ok()
    }

    /// Puts an entry in; one that was there is replaced and returned.
    pub fn insert(&mut self, id: FindingId, value: V) -> Option<V> {
        let Place { chunk, entry } = self.find(&id);
        match entry {
            Ok(at) => Some(std::mem::replace(&mut self.chunks[chunk][at].1, value)),
            Err(at) => {
                self.insert_at(chunk, at, id, value);
                None
            }
        }
    }

    fn insert_at(&mut self, chunk: usize, at: usize, id: FindingId, value: V) {
        self.len += 1;
        let is_last = chunk + 1 == self.chunks.len();
        let Some(entries) = self.chunks.get_mut(chunk) else {
            self.append_chunk(id, value);
            return;
        };
        if entries.len() < CHUNK {
            entries.insert(at, (id, value));
            self.firsts[chunk] = entries[0].0;
            return;
        }
        if at == CHUNK && is_last {
            self.append_chunk(id, value);
            return;
        }
        let mut upper = entries.split_off(CHUNK / 2);
        match at.checked_sub(CHUNK / 2) {
            Some(at) if at > 0 => upper.insert(at, (id, value)),
            _ => entries.insert(at, (id, value)),
        }
        self.firsts[chunk] = entries[0].0;
        self.firsts.insert(chunk + 1, upper[0].0);
        self.chunks.insert(chunk + 1, upper);
    }

    fn append_chunk(&mut self, id: FindingId, value: V) {
        let mut entries = Vec::with_capacity(if self.chunks.is_empty() { 4 } else { CHUNK });
        entries.push((id, value));
        self.firsts.push(id);
        self.chunks.push(entries);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, id: &FindingId) -> Option<V> {
        let place = self.find(id);
        let (chunk, at) = (place.chunk, place.entry.ok()?);
        let (_, value) = self.chunks[chunk].remove(at);
        self.len -= 1;
        match self.chunks[chunk].first() {
            Some((first, _)) => self.firsts[chunk] = *first,
            None => {
                self.chunks.remove(chunk);
                self.firsts.remove(chunk);
            }
        }
        Some(value)
    }

    /// Keeps the entries that are to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&FindingId, &mut V) -> bool) {
        for chunk in &mut self.chunks {
            chunk.retain_mut(|(id, value)| keep(id, value));
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.firsts = self.chunks.iter().map(|chunk| chunk[0].0).collect();
        self.len = self.chunks.iter().map(Vec::len).sum();
    }

    /// All entries, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&FindingId, &V)> {
        self.chunks.iter().flatten().map(|(id, value)| (id, value))
    }

    /// All ids in order.
    pub fn keys(&self) -> impl Iterator<Item = &FindingId> {
        self.iter().map(|(id, _)| id)
    }

    /// All values, by id.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// All values, by id, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.chunks.iter_mut().flatten().map(|(_, value)| value)
    }
}

impl<V: PartialEq> PartialEq for IdMap<V> {
    fn eq(&self, other: &Self) -> bool {
        // The same entries may be cut into chunks in two ways.
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<V: fmt::Debug> fmt::Debug for IdMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Serialize> Serialize for IdMap<V> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for IdMap<V> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = IdMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map by the ids of findings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<IdMap<V>, A::Error> {
                let mut map = IdMap::default();
                while let Some((id, value)) = entries.next_entry()? {
                    map.insert(id, value);
                }
                Ok(map)
            }
        }

        d.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(n: u16) -> FindingId {
        format!("{n:016x}").parse().expect("sixteen digits")
    }

    fn assert_same(map: &IdMap<u32>, model: &BTreeMap<FindingId, u32>) {
        assert!(map.iter().eq(model.iter()));
        assert_eq!(map.len(), model.len());
        assert!(map.chunks.iter().all(|c| (1..=CHUNK).contains(&c.len())));
        assert!(map.firsts.iter().eq(map.chunks.iter().map(|c| &c[0].0)));
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_map(
            steps in prop::collection::vec((0u8..6, 0u16..900, any::<u32>()), 0..1_500)
        ) {
            let (mut map, mut model) = (IdMap::default(), BTreeMap::new());
            for (step, n, value) in steps {
                let id = id(n);
                match step {
                    0 => prop_assert_eq!(map.remove(&id), model.remove(&id)),
                    1 => prop_assert_eq!(map.get(&id), model.get(&id)),
                    2 => prop_assert_eq!(map.get_mut(&id), model.get_mut(&id)),
                    _ => prop_assert_eq!(map.insert(id, value), model.insert(id, value)),
                }
                prop_assert_eq!(map.contains_key(&id), model.contains_key(&id));
            }
            assert_same(&map, &model);
            map.retain(|_, v| *v % 3 > 0);
            model.retain(|_, v| *v % 3 > 0);
            assert_same(&map, &model);
            let text = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(&text, &serde_json::to_string(&model).unwrap());
            prop_assert_eq!(serde_json::from_str::<IdMap<u32>>(&text).unwrap(), map);
        }
    }

    #[test]
    fn entries_that_come_in_order_fill_their_chunks() {
        let mut map = IdMap::default();
        for n in 0..1_000 {
            map.insert(id(n), 0);
        }
        assert_eq!(map.chunks.len(), 1_000usize.div_ceil(CHUNK));
    }
}
