/*
 * Preloaded into holdall by tests/support/fault.rs: makes things happen at a moment that a test chooses.
 *
 *   FAULT_TIME=SECONDS         the clock stands still at this moment
 *   FAULT_ON_READ=FILE         before the FAULT_NTH-th read of this file FAULT_RUN is run, once, and waited for
 *   FAULT_ON_OWNER=UID         FAULT_RUN is run when the name of this user is looked up, which is when a file of his is looked at
 *   FAULT_RUN=COMMAND          for sh
 *   FAULT_BELOW=DIRECTORY      calls that change something below it are counted
 *   FAULT_COUNT_TO=FILE        at the end their number is written there
 *   FAULT_KILL_AT=NUMBER       at that call the process is killed; a write is cut in half before
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *on_read, *on_owner, *run, *below, *count_to;
static long frozen = -1, kill_at = -1, nth = 1;
static atomic_long changes, reads;

__attribute__((constructor)) static void start(void) {
    on_read = getenv("FAULT_ON_READ");
    on_owner = getenv("FAULT_ON_OWNER");
    run = getenv("FAULT_RUN");
    below = getenv("FAULT_BELOW");
    count_to = getenv("FAULT_COUNT_TO");
    if (getenv("FAULT_TIME")) frozen = atol(getenv("FAULT_TIME"));
    if (getenv("FAULT_KILL_AT")) kill_at = atol(getenv("FAULT_KILL_AT"));
    if (getenv("FAULT_NTH")) nth = atol(getenv("FAULT_NTH"));
}

__attribute__((destructor)) static void end(void) {
    FILE *file = count_to ? fopen(count_to, "w") : NULL;
    if (file) {
        fprintf(file, "%ld", atomic_load(&changes));
        fclose(file);
    }
}

/* Not system(3): that ignores the signals that a test may want to send meanwhile. */
static void run_and_wait(void) {
    char *arguments[] = {"sh", "-c", (char *)run, NULL};
    char path[4096];
    snprintf(path, sizeof path, "PATH=%s", getenv("PATH"));
    char *environment[] = {path, NULL};
    pid_t child;
    if (posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environment) != 0 || waitpid(child, NULL, 0) < 0) abort();
}

static int names(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int counts(const char *path) {
    return below && path && strncmp(path, below, strlen(below)) == 0;
}

/* Whether this call is the one to die at. */
static int is_last(void) {
    return atomic_fetch_add(&changes, 1) + 1 == kill_at;
}

static void change(const char *path) {
    if (counts(path) && is_last()) raise(SIGKILL);
}

static void change_of(int fd) {
    char path[4096];
    if (below && names(fd, path, sizeof path)) change(path);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock != CLOCK_REALTIME || frozen < 0) return REAL(clock_gettime)(clock, time);
    time->tv_sec = frozen;
    time->tv_nsec = 0;
    return 0;
}

ssize_t read(int fd, void *buffer, size_t size) {
    char path[4096];
    if (on_read && names(fd, path, sizeof path) && strcmp(path, on_read) == 0 && atomic_fetch_add(&reads, 1) + 1 == nth)
        run_and_wait();
    return REAL(read)(fd, buffer, size);
}

int getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **result) {
    if (on_owner && uid == (uid_t)atol(on_owner)) run_and_wait();
    return REAL(getpwuid_r)(uid, entry, buffer, size, result);
}

ssize_t write(int fd, const void *buffer, size_t size) {
    char path[4096];
    if (below && names(fd, path, sizeof path) && counts(path) && is_last()) {
        if (REAL(write)(fd, buffer, size / 2) >= 0) raise(SIGKILL);
        abort();
    }
    return REAL(write)(fd, buffer, size);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_CREAT) change(path);
    return REAL(open64)(path, flags, mode);
}

int ftruncate64(int fd, off64_t length) {
    change_of(fd);
    return REAL(ftruncate64)(fd, length);
}

int fsync(int fd) {
    change_of(fd);
    return REAL(fsync)(fd);
}

int rename(const char *from, const char *to) {
    change(to);
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    change(path);
    return REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    change(path);
    return REAL(mkdir)(path, mode);
}
