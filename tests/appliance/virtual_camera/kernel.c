/* LD_PRELOAD: what libcamera's virtual camera expects of a kernel, where the kernel has it not.

   - /dev/dma_heap/linux,cma and /dev/udmabuf, made of memfds;
   - pace: a frame is done every PACE_US, where the virtual camera would complete thousands a second;
   - silence: while SILENT_FILE exists, no frame is ever reported done, which is what a loose ribbon looks like to Picamera2.

   gcc -O2 -Wall -shared -fPIC -o kernel.so kernel.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SILENT_FILE "/run/virtual-camera-silent"
#define PACE_US 20000

static int is_heap(const char *path) { return path && (!strcmp(path, "/dev/dma_heap/linux,cma") || !strcmp(path, "/dev/udmabuf")); }

#define OPEN(name)                                                   \
    int name(const char *path, int flags, ...) {                     \
        static int (*real)(const char *, int, ...);                  \
        mode_t mode = 0;                                             \
        if (!real) real = dlsym(RTLD_NEXT, #name);                   \
        if (flags & (O_CREAT | O_TMPFILE)) {                         \
            va_list rest;                                            \
            va_start(rest, flags);                                   \
            mode = va_arg(rest, mode_t);                             \
            va_end(rest);                                            \
        }                                                            \
        return real(is_heap(path) ? "/dev/null" : path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPEN(__open_2)

static int is_of_a_dma_buffer(unsigned long request) {
    return request == DMA_BUF_IOCTL_SYNC || request == DMA_BUF_SET_NAME || request == DMA_BUF_SET_NAME_A || request == DMA_BUF_SET_NAME_B;
}

int ioctl(int fd, unsigned long request, ...) {
    static int (*real)(int, unsigned long, ...);
    va_list rest;
    void *argument;
    int answer;
    if (!real) real = dlsym(RTLD_NEXT, "ioctl");
    va_start(rest, request);
    argument = va_arg(rest, void *);
    va_end(rest);
    if (request == UDMABUF_CREATE) return fcntl(((struct udmabuf_create *)argument)->memfd, F_DUPFD_CLOEXEC, 0);
    if (request == DMA_HEAP_IOCTL_ALLOC) {
        struct dma_heap_allocation_data *wanted = argument;
        int memory = memfd_create("dma-heap", MFD_CLOEXEC);
        if (memory < 0 || ftruncate(memory, wanted->len)) return -1;
        wanted->fd = memory;
        return 0;
    }
    answer = real(fd, request, argument);
    if (answer < 0 && errno == ENOTTY && is_of_a_dma_buffer(request)) return 0; /* a memfd is coherent and nameless */
    return answer;
}

/* the eventfd by which libcamera's Python binding tells of finished requests */
static int finished_fd = -1;

static int is_called_by_the_binding(void *caller) {
    Dl_info where;
    return dladdr(caller, &where) && strstr(where.dli_fname, "/_libcamera.");
}

int eventfd(unsigned initial, int flags) {
    static int (*real)(unsigned, int);
    int fd;
    if (!real) real = dlsym(RTLD_NEXT, "eventfd");
    fd = real(initial, flags);
    if (is_called_by_the_binding(__builtin_return_address(0))) finished_fd = fd;
    return fd;
}

static volatile int held_back;

ssize_t write(int fd, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (fd != finished_fd || count != sizeof(uint64_t)) return real(fd, bytes, count);
    usleep(PACE_US);
    if (access(SILENT_FILE, F_OK)) return real(fd, bytes, count);
    held_back = 1;
    return count;
}

/* who asks of itself, as Picamera2 does while it stops, gets what was held back, as from a camera that returns what it was given */
ssize_t read(int fd, void *bytes, size_t count) {
    static ssize_t (*real)(int, void *, size_t);
    ssize_t had;
    if (!real) real = dlsym(RTLD_NEXT, "read");
    had = real(fd, bytes, count);
    if (fd != finished_fd || !held_back) return had;
    held_back = 0;
    *(uint64_t *)bytes = 1;
    return sizeof(uint64_t);
}
