// SPDX-License-Identifier: MIT
//! The crate vm-memory of rust-vmm as an engine of `mslot bench`: what ../../vm_memory.c calls.
//!
//! A map is a `GuestMemoryAtomic<GuestMemoryMmap>`, the type that rust-vmm's documentation names
//! for memory that changes while devices use it. Regions are found by address only; what belongs
//! to an id (address, length, token) is kept here, as any user of the crate has to.
//!
//! Invariants: `by_id[id]` describes the one region of that id in the published map, and the
//! published map holds no other region. A token is the address of the `GuestRegionMmap`, which
//! the published map owns.
//!
//! No region owns memory: all of them show the start of one reserved mapping (no access, no
//! pages), so that no time of mmap() is in any figure. vm-memory does not look at it.

use std::mem::size_of;
use std::os::raw::{c_char, c_int};
use std::slice::from_raw_parts;
use std::sync::Arc;
use vm_memory::{
    Address, GuestAddress, GuestAddressSpace, GuestMemory, GuestMemoryAtomic, GuestMemoryMmap,
    GuestMemoryRegion, GuestRegionMmap, MmapRegion,
};

type Memory = GuestMemoryMmap<()>;
type Region = GuestRegionMmap<()>;

/// `struct engine_slot` of ../../engine.h.
#[repr(C)]
pub struct Slot {
    id: u32,
    flags: u32,
    gpa: u64,
    len_bytes: u64,
    hva: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    gpa: u64,
    len_bytes: u64, // 0: no slot has this id
    token: u64,
}

const NO_SLOT: Entry = Entry { gpa: 0, len_bytes: 0, token: 0 };

pub struct Map {
    memory: GuestMemoryAtomic<Memory>,
    by_id: Vec<Entry>,
    /// Reservations that regions show; the last one is the longest.
    lent: Vec<MmapRegion<()>>,
}

fn token(region: &Region) -> u64 {
    region as *const Region as u64
}

impl Map {
    /// Have at least `len_bytes` of address space to show.
    fn lend(&mut self, len_bytes: u64) -> Result<(), c_int> {
        let len = usize::try_from(len_bytes).map_err(|_| -libc::EINVAL)?;
        if self.lent.last().map_or(0, |m| m.size()) >= len {
            return Ok(());
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // Twice what is needed: few reservations, whatever the order of lengths.
        let more = MmapRegion::build(None, len.saturating_mul(2), libc::PROT_NONE, flags)
            .or_else(|_| MmapRegion::build(None, len, libc::PROT_NONE, flags))
            .map_err(|_| -libc::ENOMEM)?;
        self.lent.push(more);
        Ok(())
    }

    /// A region as a user makes one of memory that he mapped himself. After lend().
    fn region(&self, gpa: u64, len_bytes: u64) -> Result<Arc<Region>, c_int> {
        let host = self.lent.last().ok_or(-libc::EINVAL)?;
        // SAFETY: the reservation is at least as long as the region (lend() was called) and
        // outlives it; nothing reads or writes guest memory here.
        let mapping = unsafe {
            MmapRegion::build_raw(host.as_ptr(), len_bytes as usize, host.prot(), host.flags())
        };
        let mapping = mapping.map_err(|_| -libc::EINVAL)?;
        Region::new(mapping, GuestAddress(gpa)).map(Arc::new).map_err(|_| -libc::EINVAL)
    }

    fn publish(&self, memory: Memory) {
        // A writer that panics ends the process (panic = "abort"): never poisoned.
        self.memory.lock().unwrap().replace(memory);
    }

    fn entry(&self, id: u32) -> Result<Entry, c_int> {
        match self.by_id.get(id as usize) {
            Some(e) if e.len_bytes > 0 => Ok(*e),
            _ => Err(-libc::EINVAL),
        }
    }

    fn insert(&mut self, s: &Slot) -> Result<(), c_int> {
        match self.by_id.get(s.id as usize) {
            Some(e) if e.len_bytes == 0 && s.len_bytes > 0 => (),
            _ => return Err(-libc::EINVAL),
        }
        self.lend(s.len_bytes)?;
        let region = self.region(s.gpa, s.len_bytes)?;
        let token = token(&region);
        let next = self.memory.memory().insert_region(region).map_err(|_| -libc::EEXIST)?;
        self.publish(next);
        self.by_id[s.id as usize] = Entry { gpa: s.gpa, len_bytes: s.len_bytes, token };
        Ok(())
    }

    fn remove(&mut self, id: u32) -> Result<(), c_int> {
        let old = self.entry(id)?;
        let snapshot = self.memory.memory();
        let (next, _) = snapshot
            .remove_region(GuestAddress(old.gpa), old.len_bytes)
            .map_err(|_| -libc::EINVAL)?;
        // A snapshot that is still held would keep the old map alive until the end of this call.
        drop(snapshot);
        self.publish(next);
        self.by_id[id as usize] = NO_SLOT;
        Ok(())
    }

    /// The address is a constant of a region: another region, in one publish.
    fn change_gpa(&mut self, id: u32, gpa: u64) -> Result<(), c_int> {
        let old = self.entry(id)?;
        let region = self.region(gpa, old.len_bytes)?;
        let token = token(&region);
        let snapshot = self.memory.memory();
        let (without, _) = snapshot
            .remove_region(GuestAddress(old.gpa), old.len_bytes)
            .map_err(|_| -libc::EINVAL)?;
        drop(snapshot);
        let next = without.insert_region(region).map_err(|_| -libc::EEXIST)?;
        self.publish(next);
        self.by_id[id as usize] = Entry { gpa, token, ..old };
        Ok(())
    }

    fn check_ids(&self, slots: &[Slot]) -> Result<(), c_int> {
        let mut seen = vec![0u64; self.by_id.len() / 64 + 1];
        for s in slots {
            let (word, bit) = (s.id as usize / 64, 1 << (s.id % 64));
            if s.id as usize >= self.by_id.len() || s.len_bytes == 0 || seen[word] & bit != 0 {
                return Err(-libc::EINVAL);
            }
            seen[word] |= bit;
        }
        Ok(())
    }

    /// All regions are made anew: nothing of the map before is needed, and that is less than to
    /// look for what could be kept. vm-memory wants them sorted and has no empty list of them.
    fn fill(&mut self, slots: &[Slot]) -> Result<(), c_int> {
        self.check_ids(slots)?;
        self.lend(slots.iter().map(|s| s.len_bytes).max().unwrap_or(0))?;
        let mut regions = Vec::with_capacity(slots.len());
        for s in slots {
            regions.push(self.region(s.gpa, s.len_bytes)?);
        }
        let tokens: Vec<u64> = regions.iter().map(|r| token(r)).collect();
        regions.sort_unstable_by_key(|r| r.start_addr());
        let next = if regions.is_empty() {
            Memory::new()
        } else {
            Memory::from_arc_regions(regions).map_err(|_| -libc::EEXIST)?
        };
        self.publish(next);
        self.by_id.fill(NO_SLOT);
        for (s, &token) in slots.iter().zip(&tokens) {
            self.by_id[s.id as usize] = Entry { gpa: s.gpa, len_bytes: s.len_bytes, token };
        }
        Ok(())
    }
}

fn status(result: Result<(), c_int>) -> c_int {
    result.err().unwrap_or(0)
}

#[no_mangle]
pub extern "C" fn vm_memory_crate_version() -> *const c_char {
    concat!(env!("VM_MEMORY_VERSION"), "\0").as_ptr().cast()
}

#[no_mangle]
pub extern "C" fn vm_memory_create(limit: u32) -> *mut Map {
    Box::into_raw(Box::new(Map {
        memory: GuestMemoryAtomic::new(Memory::new()),
        by_id: vec![NO_SLOT; limit as usize],
        lent: Vec::new(),
    }))
}

/// # Safety
/// In all functions below: `map` is of vm_memory_create(), and with arrays go their lengths.
/// A map is edited by one thread at a time, and looked up by any.
#[no_mangle]
pub unsafe extern "C" fn vm_memory_destroy(map: *mut Map) {
    drop(Box::from_raw(map));
}

/// # Safety
/// See vm_memory_destroy().
#[no_mangle]
pub unsafe extern "C" fn vm_memory_insert(map: *mut Map, slot: *const Slot) -> c_int {
    status((*map).insert(&*slot))
}

/// # Safety
/// See vm_memory_destroy().
#[no_mangle]
pub unsafe extern "C" fn vm_memory_remove(map: *mut Map, id: u32) -> c_int {
    status((*map).remove(id))
}

/// # Safety
/// See vm_memory_destroy().
#[no_mangle]
pub unsafe extern "C" fn vm_memory_move(map: *mut Map, id: u32, gpa: u64) -> c_int {
    status((*map).change_gpa(id, gpa))
}

/// # Safety
/// See vm_memory_destroy(); `slots` is not null even when n is 0.
#[no_mangle]
pub unsafe extern "C" fn vm_memory_fill(map: *mut Map, slots: *const Slot, n: usize) -> c_int {
    status((*map).fill(from_raw_parts(slots, n)))
}

/// # Safety
/// See vm_memory_destroy().
#[no_mangle]
pub unsafe extern "C" fn vm_memory_token_of(map: *const Map, id: u32) -> u64 {
    (*map).entry(id).map_or(0, |e| e.token)
}

/// The vector of the published map, and its regions with the two counts of each Arc; nothing of
/// what is kept beside it here.
///
/// # Safety
/// See vm_memory_destroy().
#[no_mangle]
pub unsafe extern "C" fn vm_memory_bytes(map: *const Map) -> u64 {
    let counts = 2 * size_of::<usize>();
    let region = size_of::<Arc<Region>>() + size_of::<Region>() + counts;
    let fixed = size_of::<Memory>() + counts;
    ((*map).memory.memory().num_regions() * region + fixed) as u64
}

/// One snapshot for all lookups.
///
/// # Safety
/// See vm_memory_destroy().
#[no_mangle]
pub unsafe extern "C" fn vm_memory_find(map: *const Map, gpa: *const u64, n: usize) -> u64 {
    let snapshot = (*map).memory.memory();
    let memory: &Memory = &snapshot;
    let mut sum = 0u64;
    for &a in from_raw_parts(gpa, n) {
        sum = sum.wrapping_add(memory.find_region(GuestAddress(a)).map_or(0, token));
    }
    sum
}

/// `zero` is 0, which the compiler cannot know: each address needs the answer before it.
///
/// # Safety
/// See vm_memory_destroy().
#[no_mangle]
pub unsafe extern "C" fn vm_memory_find_dependent(
    map: *const Map,
    gpa: *const u64,
    n: usize,
    zero: u64,
) -> u64 {
    let snapshot = (*map).memory.memory();
    let memory: &Memory = &snapshot;
    let (mut sum, mut last) = (0u64, 0u64);
    for &a in from_raw_parts(gpa, n) {
        let at = GuestAddress(a).unchecked_add(last & zero);
        last = memory.find_region(at).map_or(0, token);
        sum = sum.wrapping_add(last);
    }
    sum
}

/// A snapshot for each lookup, as devices take one for each access.
///
/// # Safety
/// See vm_memory_destroy().
#[no_mangle]
pub unsafe extern "C" fn vm_memory_find_section(map: *const Map, gpa: *const u64, n: usize) -> u64 {
    let mut sum = 0u64;
    for &a in from_raw_parts(gpa, n) {
        let snapshot = (*map).memory.memory();
        sum = sum.wrapping_add(snapshot.find_region(GuestAddress(a)).map_or(0, token));
    }
    sum
}
