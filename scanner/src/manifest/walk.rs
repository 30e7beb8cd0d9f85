//! A walk over a document root, as a web server would find the files.
//!
//! Everything is opened by its name in a folder that is open already, and never through a symbolic
//! link. A link is resolved first, and followed if it leads to somewhere below the root; so whoever
//! owns the files cannot have others read by exchanging a folder for a link meanwhile. A link that
//! leads out of the root (a deployment's shared folder) is followed only if the owner of the link
//! owns what it leads to as well, which is asked of what was opened.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_probes::http::manifest::{ManifestEntry, PATH_LIMIT, PREFIX, encode_segment};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

/// Most folders below one another. Each holds a descriptor open.
const DEPTH: usize = 256;

/// How often one folder is read by way of links, beside its own place. Links between folders could
/// make more ways to a file than there are files on earth.
const WAYS: u8 = 4;

/// Receives what the walk finds.
pub trait FileVisitor {
    /// Whether to go on. Asked often.
    fn goes_on(&mut self) -> bool;

    /// A file was read.
    ///
    /// # Errors
    /// Ends the walk.
    fn add_file(&mut self, entry: &ManifestEntry) -> Result<()>;

    /// A place was left out. Folders end with a slash.
    fn note_skipped(&mut self, url: &str, why: SkippedEntry);

    /// A link leads out of the document root, and what it leads to belongs to the same owner. It is
    /// read like the files of the root.
    fn note_link_out(&mut self, url: &str);
}

/// Why a place was left out.
#[derive(Debug)]
pub enum SkippedEntry {
    /// It could not be read, so that nothing is known of it.
    Unreadable(io::Error),
    /// It is a link to somewhere outside of the document root, and to what belongs to somebody else.
    Outside,
}

/// What the walk met beside files.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct WalkSummary {
    /// Folders, counted once for each way to them.
    pub folders: u64,
    /// FIFOs, sockets and devices; none was opened.
    pub special: u64,
    /// Links to nothing.
    pub dead_links: u64,
    /// Links to a folder above them, or by which a folder was met too often.
    pub loops: u64,
}

/// A folder that is being walked.
struct FolderLevel {
    fd: OwnedFd,
    id: FileId,
    /// Below the root, or absolute outside of it; without links in it.
    real: PathBuf,
    /// Percent-encoded, with a slash at its end.
    url: String,
    /// Below the root as it is asked for, with a slash at its end unless empty.
    name: Vec<u8>,
    by_link: bool,
    /// Still to be walked.
    folders: std::vec::IntoIter<OpenFolder>,
}

struct OpenFolder {
    name: CString,
    /// Where it is, if its name is that of a link.
    target: Option<PathBuf>,
}

type FileId = (u64, u64);

/// Walks over all files below `root`, which must be absolute and without links. In each folder the
/// files come first, then the folders, both in the order of their bytes. Memory is bounded by the
/// names in one folder.
///
/// # Errors
/// When the root itself cannot be read, and whatever the visitor returns.
pub fn walk(
    root: &Path,
    prefix: &str,
    hosts: &[String],
    visitor: &mut impl FileVisitor,
) -> Result<WalkSummary> {
    let fd = nix::fcntl::open(root, build_folder_flags(), Mode::empty()).map_err(io::Error::from);
    let failed = |e: io::Error| {
        Failure::new(format!("cannot read the document root {}", root.display()))
            .help("run as a user who may read it")
            .source(e)
    };
    let fd = fd.map_err(failed)?;
    let id = to_file_id(&fstat(&fd).map_err(io::Error::from).map_err(failed)?);
    let again = openat(&fd, c".", build_folder_flags(), Mode::empty()).map_err(io::Error::from);
    let mut walk = TreeWalk {
        root,
        root_fd: again.map_err(failed)?,
        hosts,
        visitor,
        walked: WalkSummary::default(),
        ways: HashMap::new(),
        buffer: vec![0; PREFIX],
    };
    let mut top = FolderLevel {
        fd,
        id,
        real: PathBuf::new(),
        url: prefix.to_owned(),
        name: Vec::new(),
        by_link: false,
        folders: Vec::new().into_iter(),
    };
    top.folders = match walk.read(&top)? {
        Ok(folders) => folders,
        Err(e) => return Err(failed(e).into()),
    };
    let mut stack = vec![top];
    while let Some(level) = stack.last_mut() {
        if !walk.visitor.goes_on() {
            break;
        }
        let Some(folder) = level.folders.next() else {
            stack.pop();
            continue;
        };
        if let Some(below) = walk.enter(&stack, &folder)? {
            stack.push(below);
        }
    }
    Ok(walk.walked)
}

struct TreeWalk<'a, V> {
    root: &'a Path,
    root_fd: OwnedFd,
    hosts: &'a [String],
    visitor: &'a mut V,
    walked: WalkSummary,
    /// How often folders were met by way of links.
    ways: HashMap<FileId, u8>,
    buffer: Vec<u8>,
}

impl<V: FileVisitor> TreeWalk<'_, V> {
    /// Opens a folder of the innermost level and reads its files.
    fn enter(&mut self, stack: &[FolderLevel], folder: &OpenFolder) -> Result<Option<FolderLevel>> {
        let Some(above) = stack.last() else { return Ok(None) };
        let mut url = above.url.clone();
        encode_segment(&mut url, folder.name.to_bytes());
        url.push('/');
        let name = [&above.name, folder.name.to_bytes(), b"/"].concat();
        if stack.len() >= DEPTH || name.len() >= PATH_LIMIT {
            let e =
                io::Error::other(format!("more than {DEPTH} folders or {PATH_LIMIT} bytes deep"));
            self.visitor.note_skipped(&url, SkippedEntry::Unreadable(e));
            return Ok(None);
        }
        let opened = match &folder.target {
            None => openat(&above.fd, folder.name.as_c_str(), build_folder_flags(), Mode::empty()),
            Some(target) => self.open(target, build_folder_flags()),
        };
        let opened = opened.and_then(|fd| fstat(&fd).map(|s| (fd, to_file_id(&s))));
        let (fd, id) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                self.note_unreadable(&url, e);
                return Ok(None);
            }
        };
        let by_link = above.by_link || folder.target.is_some();
        if by_link {
            let ways = self.ways.entry(id).or_default();
            if *ways >= WAYS || stack.iter().any(|l| l.id == id) {
                self.walked.loops += 1;
                return Ok(None);
            }
            *ways += 1;
        }
        let real = match &folder.target {
            Some(target) => target.clone(),
            None => above.real.join(OsStr::from_bytes(folder.name.to_bytes())),
        };
        let folders = Vec::new().into_iter();
        let mut level = FolderLevel { fd, id, real, url, name, by_link, folders };
        match self.read(&level)? {
            Ok(folders) => level.folders = folders,
            Err(e) => {
                self.visitor.note_skipped(&level.url, SkippedEntry::Unreadable(e));
                return Ok(None);
            }
        }
        Ok(Some(level))
    }

    /// Reads the files of a folder, and returns its folders.
    fn read(&mut self, level: &FolderLevel) -> Result<io::Result<std::vec::IntoIter<OpenFolder>>> {
        let names = match list_entries(&level.fd) {
            Ok(names) => names,
            Err(e) => return Ok(Err(e)),
        };
        self.walked.folders += 1;
        let mut folders = Vec::new();
        let mut url = level.url.clone();
        for (name, kind) in names {
            if !self.visitor.goes_on() {
                break;
            }
            url.truncate(level.url.len());
            encode_segment(&mut url, name.to_bytes());
            let kind = match kind.map_or_else(|| read_file_type(&level.fd, &name), Ok) {
                Ok(kind) => kind,
                Err(e) => {
                    self.note_unreadable(&url, e);
                    continue;
                }
            };
            match kind {
                Type::Directory => folders.push(OpenFolder { name, target: None }),
                Type::File => {
                    let opened =
                        openat(&level.fd, name.as_c_str(), build_file_flags(), Mode::empty());
                    self.read_file(level, &name, &url, opened)?;
                }
                Type::Symlink => {
                    if let Some(target) = self.link(level, &name, &url)? {
                        folders.push(OpenFolder { name, target: Some(target) });
                    }
                }
                _ => self.walked.special += 1,
            }
        }
        Ok(Ok(folders.into_iter()))
    }

    /// Follows a link: reads the file that it leads to, or returns the folder.
    fn link(&mut self, level: &FolderLevel, name: &CStr, url: &str) -> Result<Option<PathBuf>> {
        let name_os = OsStr::from_bytes(name.to_bytes());
        let target = match self.root.join(&level.real).join(name_os).canonicalize() {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.walked.dead_links += 1;
                return Ok(None);
            }
            // Links in a circle lead nowhere, for the server too.
            Err(e) if e.raw_os_error() == Some(Errno::ELOOP as i32) => {
                self.walked.loops += 1;
                return Ok(None);
            }
            Err(e) => {
                self.visitor.note_skipped(url, SkippedEntry::Unreadable(e));
                return Ok(None);
            }
        };
        let target = match target.strip_prefix(self.root) {
            Ok(target) => target,
            Err(_) => {
                if !self.is_one_owners(level, name, &target) {
                    self.visitor.note_skipped(url, SkippedEntry::Outside);
                    return Ok(None);
                }
                self.visitor.note_link_out(url);
                &target
            }
        };
        // The kind is asked for without opening: a FIFO would wait, a device might act.
        let Some(last) = target.file_name() else { return Ok(Some(PathBuf::new())) };
        let parent = target.parent().unwrap_or(Path::new(""));
        let kind = self.open(parent, build_folder_flags()).and_then(|parent| {
            let last = CString::new(last.as_bytes()).map_err(|_| Errno::EINVAL)?;
            Ok((read_file_type(&parent, &last)?, parent, last))
        });
        match kind {
            Ok((Type::Directory, ..)) => return Ok(Some(target.to_owned())),
            Ok((Type::File, parent, last)) => {
                let opened = openat(&parent, last.as_c_str(), build_file_flags(), Mode::empty());
                self.read_file(level, name, url, opened)?;
            }
            Ok(_) => self.walked.special += 1,
            Err(e) => self.note_unreadable(url, e),
        }
        Ok(None)
    }

    /// Opens what lies at a path below the root, or at an absolute one, which must have no link in
    /// it.
    fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        match path.strip_prefix("/") {
            Ok(path) => {
                let top = nix::fcntl::open("/", build_folder_flags(), Mode::empty())?;
                open_below(&top, path, flags)
            }
            Err(_) => open_below(&self.root_fd, path, flags),
        }
    }

    /// Whether a link and what it leads to outside of the root belong to one owner. A folder around
    /// the root is none of the site's, nor are the kernel's.
    fn is_one_owners(&self, level: &FolderLevel, name: &CStr, target: &Path) -> bool {
        let kernel = ["/proc", "/sys", "/dev", "/run"];
        if self.root.starts_with(target) || kernel.iter().any(|k| target.starts_with(k)) {
            return false;
        }
        let link = fstatat(&level.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        // Nothing is read by this descriptor; a FIFO would not wait.
        let path_only = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let target = self.open(target, path_only).and_then(fstat);
        matches!((link, target), (Ok(link), Ok(target)) if link.st_uid == target.st_uid)
    }

    fn read_file(
        &mut self,
        level: &FolderLevel,
        name: &CStr,
        url: &str,
        opened: nix::Result<OwnedFd>,
    ) -> Result<()> {
        let path = [&level.name, name.to_bytes()].concat();
        if path.len() > PATH_LIMIT {
            let e = io::Error::other(format!("its path has more than {PATH_LIMIT} bytes"));
            self.visitor.note_skipped(url, SkippedEntry::Unreadable(e));
            return Ok(());
        }
        let read =
            opened.map_err(io::Error::from).and_then(|fd| read_beginning(fd, &mut self.buffer));
        match read {
            Ok(Some((length, read))) => {
                let entry = ManifestEntry::of(url, &path, length, &self.buffer[..read], self.hosts);
                self.visitor.add_file(&entry)?;
            }
            // Exchanged since its kind was asked for.
            Ok(None) => self.walked.special += 1,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => self.visitor.note_skipped(url, SkippedEntry::Unreadable(e)),
        }
        Ok(())
    }

    fn note_unreadable(&mut self, url: &str, e: Errno) {
        // What was deleted meanwhile cannot be served either.
        if e != Errno::ENOENT {
            self.visitor.note_skipped(url, SkippedEntry::Unreadable(e.into()));
        }
    }
}

/// The length of a file and how much of its beginning is in the buffer now; nothing if it is no
/// regular file. A file may shrink or grow meanwhile: the length is then that of what was read, or
/// the later one.
fn read_beginning(fd: OwnedFd, buffer: &mut [u8]) -> io::Result<Option<(u64, usize)>> {
    let mut file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..]) {
            Ok(0) => return Ok(Some((read as u64, read))),
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Some((file.metadata()?.len().max(read as u64), read)))
}

/// The names in a folder in the order of their bytes, with what they are where that is known. To be
/// called once for a descriptor, whose position it moves.
fn list_entries(fd: &OwnedFd) -> io::Result<Vec<(CString, Option<Type>)>> {
    let mut dir = Dir::from_fd(fd.try_clone()?)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

/// Opens what lies at a path below a folder, which must have no link in it.
fn open_below(folder: &OwnedFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let mut parts = path.iter().peekable();
    let mut fd = openat(folder, c".", build_folder_flags(), Mode::empty())?;
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_some() { build_folder_flags() } else { flags };
        fd = openat(&fd, part, flags, Mode::empty())?;
    }
    Ok(fd)
}

fn read_file_type(folder: impl AsFd, name: &CStr) -> nix::Result<Type> {
    let stat = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    Ok(match kind {
        SFlag::S_IFREG => Type::File,
        SFlag::S_IFDIR => Type::Directory,
        SFlag::S_IFLNK => Type::Symlink,
        SFlag::S_IFIFO => Type::Fifo,
        SFlag::S_IFSOCK => Type::Socket,
        SFlag::S_IFBLK => Type::BlockDevice,
        _ => Type::CharacterDevice,
    })
}

const fn to_file_id(stat: &FileStat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

const fn build_folder_flags() -> OFlag {
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC)
}

/// Without waiting, should it be a FIFO by now.
const fn build_file_flags() -> OFlag {
    OFlag::O_RDONLY
        .union(OFlag::O_NOFOLLOW)
        .union(OFlag::O_NONBLOCK)
        .union(OFlag::O_NOCTTY)
        .union(OFlag::O_CLOEXEC)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn opened(path: &Path) -> OwnedFd {
        nix::fcntl::open(path, build_file_flags(), Mode::empty()).expect("it opens")
    }

    #[test]
    fn a_file_that_shrinks_or_grows_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, [7; 100]).unwrap();
        let mut buffer = vec![0; PREFIX];
        let fd = opened(&path);
        File::options().write(true).open(&path).unwrap().set_len(40).unwrap();
        assert_eq!(read_beginning(fd, &mut buffer).unwrap(), Some((40, 40)));
        let fd = opened(&path);
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_beginning(fd, &mut buffer).unwrap(), Some((1 << 40, PREFIX)));
        // What was exchanged for a folder is no file.
        assert_eq!(read_beginning(opened(dir.path()), &mut buffer).unwrap(), None);
    }

    #[test]
    fn nothing_is_opened_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::write(dir.path().join("real/a"), "x").unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("real/b")).unwrap();
        let root = nix::fcntl::open(dir.path(), build_folder_flags(), Mode::empty()).unwrap();
        assert!(open_below(&root, Path::new("real/a"), build_file_flags()).is_ok());
        assert!(open_below(&root, Path::new(""), build_folder_flags()).is_ok());
        for path in ["link/a", "real/b", "link"] {
            assert!(open_below(&root, Path::new(path), build_file_flags()).is_err(), "{path}");
        }
    }
}
