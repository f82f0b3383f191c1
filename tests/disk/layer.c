/* Stands between a process and the C library's file calls (LD_PRELOAD), for what lies in one folder: notes each that
   changes something, and has the n-th fail. The notes are for tests/disk/notes.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static int notes = -1, failing, reason, count, failed;

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* Begins anew: notes go to a descriptor (-1: none), the n-th call fails with an errno (0: none does). */
void layer_begin(const char *watched, int descriptor, int n, int error) {
    snprintf(folder, sizeof folder, "%s", watched);
    notes = descriptor, failing = n, reason = error, count = failed = 0;
}
int layer_count(void) { return count; }
int layer_failed(void) { return failed; }

static int watched(const char *path) {
    size_t n = strlen(folder);
    return n && !strncmp(path, folder, n) && (path[n] == '/' || !path[n]);
}
static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return watched(path);
}
static int absolute(int at, const char *given, char *path) {
    if (given[0] == '/') snprintf(path, PATH_MAX, "%s", given);
    else if (at == AT_FDCWD) { if (!getcwd(path, PATH_MAX / 2)) return 0; strcat(path, "/"); strncat(path, given, 255); }
    else { char base[PATH_MAX]; if (!path_of(at, base)) return 0; snprintf(path, PATH_MAX, "%.2000s/%.255s", base, given); }
    return watched(path);
}
static int fails(void) {
    if (++count != failing) return 0;
    failed = 1, errno = reason;
    return 1;
}
static uint64_t inode_of(int fd) { struct stat s; return fstat(fd, &s) ? 0 : s.st_ino; }
static void note(char kind, uint64_t inode, uint64_t offset, const void *data, uint64_t n) {
    if (notes < 0) return;
    REAL(write);
    int before = errno;
    uint64_t head[4] = {kind, inode, offset, n};
    if (real(notes, head, sizeof head) < 0 || (n && real(notes, data, n) < 0)) _exit(99);
    errno = before;
}

static int opened(int fd, int flags, int was_there) {
    char path[PATH_MAX];
    int before = errno;
    if (fd >= 0 && path_of(fd, path)) {
        if (flags & O_CREAT && !was_there) note('C', inode_of(fd), 0, path, strlen(path));
        if (flags & O_TRUNC && was_there) note('T', inode_of(fd), 0, 0, 0);
    }
    errno = before;
    return fd;
}
#define OPENING(at, given)                                                                                             \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, int); va_end(list); } \
    char path[PATH_MAX];                                                                                               \
    int changes = flags & (O_CREAT | O_TRUNC) && absolute(at, given, path);                                            \
    int was_there = changes && !access(path, F_OK);                                                                    \
    if (changes && (!was_there || flags & O_TRUNC) && fails()) return -1
int open(const char *given, int flags, ...) { REAL(open); OPENING(AT_FDCWD, given); return opened(real(given, flags, mode), flags, was_there); }
int open64(const char *given, int flags, ...) { REAL(open64); OPENING(AT_FDCWD, given); return opened(real(given, flags, mode), flags, was_there); }
int openat(int at, const char *given, int flags, ...) { REAL(openat); OPENING(at, given); return opened(real(at, given, flags, mode), flags, was_there); }
int openat64(int at, const char *given, int flags, ...) { REAL(openat64); OPENING(at, given); return opened(real(at, given, flags, mode), flags, was_there); }

static off_t place(int fd) { return fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR); }
ssize_t write(int fd, const void *data, size_t n) {
    REAL(write);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real(fd, data, n);
    if (fails()) return -1;
    off_t at = place(fd);
    ssize_t done = real(fd, data, n);
    if (done > 0) note('W', inode_of(fd), at, data, done);
    return done;
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(writev);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real(fd, parts, n);
    ssize_t all = 0;
    for (int i = 0; i < n; i++) {
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return all ? all : -1;
        all += done;
    }
    return all;
}
#define PWRITE(name, type)                                                                                              \
    ssize_t name(int fd, const void *data, size_t n, type at) {                                                        \
        REAL(name);                                                                                                    \
        char path[PATH_MAX];                                                                                           \
        if (!path_of(fd, path)) return real(fd, data, n, at);                                                          \
        if (fails()) return -1;                                                                                        \
        ssize_t done = real(fd, data, n, at);                                                                          \
        if (done > 0) note('W', inode_of(fd), at, data, done);                                                         \
        return done;                                                                                                   \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
#define ON_DESCRIPTOR(name, parameters, arguments, kind, offset)                                                       \
    int name parameters {                                                                                              \
        REAL(name);                                                                                                    \
        char path[PATH_MAX];                                                                                           \
        if (!path_of(fd, path)) return real arguments;                                                                 \
        if (fails()) return -1;                                                                                        \
        int done = real arguments;                                                                                     \
        if (!done) note(kind, inode_of(fd), offset, path, strlen(path));                                               \
        return done;                                                                                                   \
    }
ON_DESCRIPTOR(ftruncate, (int fd, off_t size), (fd, size), 'T', size)
ON_DESCRIPTOR(ftruncate64, (int fd, off64_t size), (fd, size), 'T', size)
ON_DESCRIPTOR(fsync, (int fd), (fd), 'S', 0)
ON_DESCRIPTOR(fdatasync, (int fd), (fd), 'S', 0)
#define ON_NAMES(name, parameters, arguments, from, given, to, wanted)                                                 \
    int name parameters {                                                                                              \
        REAL(name);                                                                                                    \
        char names[2 * PATH_MAX], path[PATH_MAX];                                                                      \
        if (!absolute(from, given, names) || !absolute(to, wanted, path)) return real arguments;                       \
        if (fails()) return -1;                                                                                        \
        int done = real arguments;                                                                                     \
        size_t n = strlen(names) + 1;                                                                                  \
        strcpy(names + n, path);                                                                                       \
        if (!done) note('R', 0, 0, names, n + strlen(path));                                                           \
        return done;                                                                                                   \
    }
ON_NAMES(rename, (const char *old, const char *new), (old, new), AT_FDCWD, old, AT_FDCWD, new)
ON_NAMES(renameat, (int a, const char *old, int b, const char *new), (a, old, b, new), a, old, b, new)
#define UNLINK(name, parameters, arguments, at)                                                                        \
    int name parameters {                                                                                              \
        REAL(name);                                                                                                    \
        char path[PATH_MAX];                                                                                           \
        if (!absolute(at, given, path) || access(path, F_OK)) return real arguments;                                   \
        if (fails()) return -1;                                                                                        \
        int done = real arguments;                                                                                     \
        if (!done) note('U', 0, 0, path, strlen(path));                                                                \
        return done;                                                                                                   \
    }
UNLINK(unlink, (const char *given), (given), AT_FDCWD)
UNLINK(unlinkat, (int at, const char *given, int flags), (at, given, flags), at)
