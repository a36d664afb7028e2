/*
 * A disk with a volatile cache, and a clock that can be set, under a program that knows of neither.
 *
 *   LD_PRELOAD=faults.so FAULTS_DISK=lost FAULTS_FOLDER=DIR FAULTS_SEED=N [FAULTS_KILL_AT=N \
 *       [FAULTS_KILL_FILE=NAME]] PROGRAM
 *   LD_PRELOAD=faults.so FAULTS_READ_ONLY=FILE FAULTS_FOLDER=DIR PROGRAM
 *   LD_PRELOAD=faults.so FAULTS_CLOCK=FILE PROGRAM
 *
 * Disk: what is written to a regular file in the folder is seen by every later read of this process, and
 * reaches the file at fsync or fdatasync alone. A process that is killed has lost the rest, as a machine
 * without power has. FAULTS_DISK says how bad it is:
 *
 *   lost    nothing that was not synchronised reaches the file
 *   torn    besides, sectors of 512 bytes reach it early, a random choice in random order
 *   lying   nothing ever reaches the file: the disk does not do what fsync asks for
 *
 * With FAULTS_KILL_AT the process ends by SIGKILL inside its Nth fsync of the folder, or of the files there
 * whose names end with FAULTS_KILL_FILE; in torn mode a random choice of the sectors is then in the file and
 * the others are not. Names are not simulated: a file that
 * was made, renamed or removed stays so. Files that are mapped (-shm) and locked (.lock) are left alone.
 *
 * Read-only: while FILE exists, nothing in the folder can be written, whatever is open already; a kernel
 * leaves a file system so after an error.
 *
 * Clock: FILE holds a number of seconds that CLOCK_REALTIME is shifted by, read at every look.
 *
 * Why C: the program calls libc, and only a library before it can stand in between. For tests; it is never
 * installed. It knows those calls that SQLite and Rust make for files, no others.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SECTOR = 512, DESCRIPTORS = 4096, PATH_BYTES = 1024 };

/* The cache of one file: all of its bytes, and which sectors the file does not have yet. */
typedef struct cache {
    dev_t device;
    ino_t inode;
    unsigned char *bytes, *dirty;
    size_t size, room;
    int counted; /* whether FAULTS_KILL_AT counts its synchronisations */
    struct cache *next;
} cache_t;

static enum { HONEST, LOST, TORN, LYING } mode;
static char folder[PATH_BYTES];
static long kill_at, synchronised;
static unsigned long long seed = 88172645463325252ULL;
static const char *clock_file, *read_only_file, *kill_file;
static char inside[DESCRIPTORS];
static cache_t *caches, *by_descriptor[DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static int (*real_unlink)(const char *);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_write)(int, const void *, size_t);
static off_t (*real_lseek)(int, off_t, int);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_stat)(const char *, struct stat *);
static int (*real_fstat)(int, struct stat *);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static void find(void *place, const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        fprintf(stderr, "faults: there is no %s\n", name);
        abort();
    }
    memcpy(place, &found, sizeof found);
}

__attribute__((constructor)) static void begin(void) {
    find(&real_open, "open64"), find(&real_openat, "openat64"), find(&real_close, "close");
    find(&real_unlink, "unlink"), find(&real_pread, "pread64"), find(&real_pwrite, "pwrite64");
    find(&real_read, "read"), find(&real_write, "write"), find(&real_lseek, "lseek64");
    find(&real_ftruncate, "ftruncate64"), find(&real_fsync, "fsync"), find(&real_fdatasync, "fdatasync");
    find(&real_stat, "stat64"), find(&real_fstat, "fstat64");
    find(&real_clock_gettime, "clock_gettime");
    const char *disk = getenv("FAULTS_DISK"), *where = getenv("FAULTS_FOLDER");
    const char *number = getenv("FAULTS_SEED"), *at = getenv("FAULTS_KILL_AT");
    clock_file = getenv("FAULTS_CLOCK"), read_only_file = getenv("FAULTS_READ_ONLY");
    kill_file = getenv("FAULTS_KILL_FILE");
    if (number) seed ^= strtoull(number, NULL, 10) * 0x9E3779B97F4A7C15ULL;
    if (at) kill_at = strtol(at, NULL, 10);
    if (where) snprintf(folder, sizeof folder, "%s/", where);
    if (!disk || !where) return;
    mode = !strcmp(disk, "lost") ? LOST : !strcmp(disk, "torn") ? TORN : !strcmp(disk, "lying") ? LYING : HONEST;
}

static unsigned chance(unsigned of) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (unsigned)(seed >> 11) % of;
}

static int ends_with(const char *path, const char *end) {
    size_t length = strlen(path), tail = strlen(end);
    return length >= tail && !strcmp(path + length - tail, end);
}

/* ---- the cache ---- */

static void out_of_memory(void) {
    static const char told[] = "faults: out of memory\n";
    if (real_write(2, told, sizeof told - 1) < 0) abort();
    abort();
}

static void grow(cache_t *cache, size_t size) {
    if (size <= cache->room) return;
    size_t room = (size * 2 + SECTOR) / SECTOR * SECTOR;
    cache->bytes = realloc(cache->bytes, room);
    cache->dirty = realloc(cache->dirty, room / SECTOR);
    if (!cache->bytes || !cache->dirty) out_of_memory();
    memset(cache->bytes + cache->room, 0, room - cache->room);
    memset(cache->dirty + cache->room / SECTOR, 0, (room - cache->room) / SECTOR);
    cache->room = room;
}

static void touch(cache_t *cache, size_t from, size_t until) {
    for (size_t sector = from / SECTOR; sector * SECTOR < until; sector++) cache->dirty[sector] = 1;
}

static void resize(cache_t *cache, size_t size) {
    grow(cache, size);
    if (size < cache->size) memset(cache->bytes + size, 0, cache->size - size);
    else touch(cache, cache->size, size);
    cache->size = size;
}

static void write_out(cache_t *cache, int descriptor, size_t sector) {
    size_t from = sector * SECTOR;
    cache->dirty[sector] = 0;
    if (from >= cache->size) return;
    size_t length = cache->size - from < SECTOR ? cache->size - from : SECTOR;
    if (real_pwrite(descriptor, cache->bytes + from, length, (off_t)from) != (ssize_t)length) abort();
}

/* A choice of one in `of` of the sectors that wait; the order of a file's sectors does not show. */
static void write_some(cache_t *cache, int descriptor, unsigned of) {
    for (size_t sector = 0; sector < cache->room / SECTOR; sector++) {
        if (cache->dirty[sector] && !chance(of)) write_out(cache, descriptor, sector);
    }
}

static cache_t **place_of(dev_t device, ino_t inode) {
    cache_t **place = &caches;
    while (*place && ((*place)->device != device || (*place)->inode != inode)) place = &(*place)->next;
    return place;
}

static cache_t *load(int descriptor, const struct stat *status) {
    cache_t *cache = calloc(1, sizeof *cache);
    if (!cache) out_of_memory();
    cache->device = status->st_dev, cache->inode = status->st_ino;
    cache->size = (size_t)status->st_size;
    grow(cache, cache->size + 1);
    size_t had = 0;
    while (had < cache->size) {
        ssize_t more = real_pread(descriptor, cache->bytes + had, cache->size - had, (off_t)had);
        if (more <= 0) break;
        had += (size_t)more;
    }
    cache->next = caches;
    return caches = cache;
}

static int is_inside(const char *path) {
    return *folder && !strncmp(path, folder, strlen(folder));
}

static void opened(int descriptor, const char *path, int flags) {
    struct stat status;
    if (mode == HONEST || descriptor < 0 || descriptor >= DESCRIPTORS) return;
    by_descriptor[descriptor] = NULL;
    if (!is_inside(path) || ends_with(path, "-shm") || ends_with(path, ".lock")) return;
    if (real_fstat(descriptor, &status) || !S_ISREG(status.st_mode)) return;
    cache_t **place = place_of(status.st_dev, status.st_ino);
    /* A file that is new may have the number of one that a rename has removed. */
    if (*place && (flags & O_EXCL)) *place = (*place)->next;
    cache_t *cache = *place_of(status.st_dev, status.st_ino);
    /* To read a file that nobody has written needs no cache. */
    if (!cache && (flags & O_ACCMODE) == O_RDONLY) return;
    if (!cache) cache = load(descriptor, &status);
    cache->counted = !kill_file || ends_with(path, kill_file);
    if (flags & O_TRUNC) resize(cache, 0);
    by_descriptor[descriptor] = cache;
}

static cache_t *cached(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS ? by_descriptor[descriptor] : NULL;
}

static ssize_t take(cache_t *cache, void *into, size_t length, off_t from) {
    if ((size_t)from >= cache->size) return 0;
    if (length > cache->size - (size_t)from) length = cache->size - (size_t)from;
    memcpy(into, cache->bytes + from, length);
    return (ssize_t)length;
}

static ssize_t put(cache_t *cache, int descriptor, const void *bytes, size_t length, off_t at) {
    size_t from = (size_t)at, until = from + length;
    if (until > cache->size) resize(cache, until);
    memcpy(cache->bytes + from, bytes, length);
    touch(cache, from, until);
    if (mode == TORN && !chance(16)) write_some(cache, descriptor, 3);
    return (ssize_t)length;
}

static int synchronise(cache_t *cache, int descriptor) {
    struct stat status;
    if (cache->counted && ++synchronised == kill_at) {
        if (mode == TORN) write_some(cache, descriptor, 2);
        kill(getpid(), SIGKILL);
    }
    if (mode == LYING) return 0;
    write_some(cache, descriptor, 1);
    if (!real_fstat(descriptor, &status) && (size_t)status.st_size != cache->size) {
        return real_ftruncate(descriptor, (off_t)cache->size);
    }
    return 0;
}

/* ---- the calls ---- */

#define LOCKED(type, work) \
    pthread_mutex_lock(&lock); \
    type result = (work); \
    pthread_mutex_unlock(&lock); \
    return result

static int is_refused(int within) {
    struct stat status;
    if (!within || !read_only_file || real_stat(read_only_file, &status)) return 0;
    errno = EROFS;
    return 1;
}

static int is_refused_to(int descriptor) {
    return is_refused(descriptor >= 0 && descriptor < DESCRIPTORS && inside[descriptor]);
}

static int open_as(int at, const char *path, int flags, mode_t bits) {
    if (is_refused((flags & (O_ACCMODE | O_CREAT | O_TRUNC)) != O_RDONLY && is_inside(path))) return -1;
    /* O_TRUNC empties the cache, and the file only when it is synchronised. */
    int passed = mode != HONEST && is_inside(path) ? flags & ~O_TRUNC : flags;
    pthread_mutex_lock(&lock);
    int descriptor = at == AT_FDCWD ? real_open(path, passed, bits) : real_openat(at, path, passed, bits);
    if (descriptor >= 0 && descriptor < DESCRIPTORS) inside[descriptor] = (char)is_inside(path);
    opened(descriptor, path, flags);
    pthread_mutex_unlock(&lock);
    return descriptor;
}

static mode_t bits_of(int flags, va_list more) {
    return flags & (O_CREAT | __O_TMPFILE) ? (mode_t)va_arg(more, int) : 0;
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t bits = bits_of(flags, more);
    va_end(more);
    return open_as(AT_FDCWD, path, flags, bits);
}

int openat64(int at, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t bits = bits_of(flags, more);
    va_end(more);
    return open_as(at, path, flags, bits);
}

int close(int descriptor) {
    pthread_mutex_lock(&lock);
    if (cached(descriptor)) by_descriptor[descriptor] = NULL;
    int result = real_close(descriptor);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    struct stat status;
    if (is_refused(is_inside(path))) return -1;
    pthread_mutex_lock(&lock);
    if (mode != HONEST && !real_stat(path, &status)) {
        /* Whoever has it open keeps it; a new file may get its number. */
        cache_t **place = place_of(status.st_dev, status.st_ino);
        if (*place) *place = (*place)->next;
    }
    int result = real_unlink(path);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t pread64(int descriptor, void *into, size_t length, off_t from) {
    if (!cached(descriptor)) return real_pread(descriptor, into, length, from);
    LOCKED(ssize_t, take(cached(descriptor), into, length, from));
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off_t at) {
    if (is_refused_to(descriptor)) return -1;
    if (!cached(descriptor)) return real_pwrite(descriptor, bytes, length, at);
    LOCKED(ssize_t, put(cached(descriptor), descriptor, bytes, length, at));
}

ssize_t read(int descriptor, void *into, size_t length) {
    if (!cached(descriptor)) return real_read(descriptor, into, length);
    pthread_mutex_lock(&lock);
    ssize_t had = take(cached(descriptor), into, length, real_lseek(descriptor, 0, SEEK_CUR));
    real_lseek(descriptor, had, SEEK_CUR);
    pthread_mutex_unlock(&lock);
    return had;
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    if (is_refused_to(descriptor)) return -1;
    if (!cached(descriptor)) return real_write(descriptor, bytes, length);
    pthread_mutex_lock(&lock);
    int appends = fcntl(descriptor, F_GETFL) & O_APPEND;
    off_t at = appends ? (off_t)cached(descriptor)->size : real_lseek(descriptor, 0, SEEK_CUR);
    ssize_t had = put(cached(descriptor), descriptor, bytes, length, at);
    real_lseek(descriptor, at + had, SEEK_SET);
    pthread_mutex_unlock(&lock);
    return had;
}

off_t lseek64(int descriptor, off_t offset, int whence) {
    cache_t *cache = cached(descriptor);
    if (cache && whence == SEEK_END) return real_lseek(descriptor, (off_t)cache->size + offset, SEEK_SET);
    return real_lseek(descriptor, offset, whence);
}

int ftruncate64(int descriptor, off_t size) {
    if (is_refused_to(descriptor)) return -1;
    if (!cached(descriptor)) return real_ftruncate(descriptor, size);
    pthread_mutex_lock(&lock);
    resize(cached(descriptor), (size_t)size);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int descriptor) {
    if (!cached(descriptor)) return real_fsync(descriptor);
    LOCKED(int, synchronise(cached(descriptor), descriptor));
}

int fdatasync(int descriptor) {
    if (!cached(descriptor)) return real_fdatasync(descriptor);
    LOCKED(int, synchronise(cached(descriptor), descriptor));
}

static void tell_size(struct stat *status) {
    pthread_mutex_lock(&lock);
    cache_t *cache = mode == HONEST ? NULL : *place_of(status->st_dev, status->st_ino);
    if (cache) status->st_size = (off_t)cache->size;
    pthread_mutex_unlock(&lock);
}

int stat(const char *path, struct stat *status) {
    int result = real_stat(path, status);
    if (!result) tell_size(status);
    return result;
}

int fstat(int descriptor, struct stat *status) {
    int result = real_fstat(descriptor, status);
    if (!result) tell_size(status);
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = real_clock_gettime(clock, time);
    if (result || clock != CLOCK_REALTIME || !clock_file) return result;
    char text[32] = "";
    int file = real_open(clock_file, O_RDONLY | O_CLOEXEC);
    if (file < 0) return result;
    if (real_read(file, text, sizeof text - 1) > 0) time->tv_sec += strtol(text, NULL, 10);
    real_close(file);
    return result;
}

/* On the machines that this runs on, both names of a call are one. */
#define SAME(type, name, original, ...) type name(__VA_ARGS__) __attribute__((alias(original)))
SAME(int, open, "open64", const char *, int, ...);
SAME(int, openat, "openat64", int, const char *, int, ...);
SAME(ssize_t, pread, "pread64", int, void *, size_t, off_t);
SAME(ssize_t, pwrite, "pwrite64", int, const void *, size_t, off_t);
SAME(off_t, lseek, "lseek64", int, off_t, int);
SAME(int, ftruncate, "ftruncate64", int, off_t);
SAME(int, stat64, "stat", const char *, struct stat64 *);
SAME(int, fstat64, "fstat", int, struct stat64 *);
