/* /metrics: what the gRPC server, the service and the process count. /healthz: whether to send it work. */
#include "daemon_http.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

static double seconds_of(struct timeval value) {
    return (double)value.tv_sec + (double)value.tv_usec / 1e6;
}

/* The second number of statm: resident pages. */
static double resident_bytes(void) {
    char line[128];
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    const char *found = fgets(line, sizeof line, file);
    fclose(file);
    const char *second = found != NULL ? strchr(line, ' ') : NULL;
    return second != NULL ? (double)strtoul(second, NULL, 10) * (double)sysconf(_SC_PAGESIZE) : 0;
}

static double open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    double count = 0;
    if (folder == NULL)
        return 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count - 1; /* the folder itself */
}

static void gauge(buffer *out, const char *name, const char *help, double value) {
    metrics_family(out, name, "gauge", help);
    metrics_sample(out, name, "", value);
}

void daemon_write_process_metrics(int64_t started_ms, buffer *out) {
    struct rusage usage = {0};
    struct rlimit files = {0};
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        metrics_family(out, "process_cpu_seconds_total", "counter", "User and system CPU time spent.");
        metrics_sample(out, "process_cpu_seconds_total", "",
                       seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    }
    gauge(out, "process_resident_memory_bytes", "Resident memory size.", resident_bytes());
    gauge(out, "process_open_fds", "Open file descriptors.", open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        gauge(out, "process_max_fds", "Limit of open file descriptors.", (double)files.rlim_cur);
    gauge(out, "process_start_time_seconds", "Start of the process, seconds since 1970.",
          (double)started_ms / 1000.0);
}

static void write_build(const daemon_spec *spec, buffer *out) {
    buffer labels;
    buffer_init(&labels, 256);
    metrics_label(&labels, "service", spec->name);
    metrics_label(&labels, "version", INTERLOCK_VERSION);
    metrics_family(out, "interlock_build_info", "gauge", "Which program this is; always 1.");
    if (buffer_ok(&labels) && labels.data != NULL)
        metrics_sample(out, "interlock_build_info", labels.data, 1);
    buffer_free(&labels);
}

int daemon_metrics_page(void *context, buffer *body, const char **content_type) {
    daemon_pages *self = context;
    write_build(self->spec, body);
    rpc_server_write_metrics(self->server, body);
    if (self->spec->write_metrics != NULL)
        self->spec->write_metrics(self->service, body);
    daemon_write_process_metrics(self->started_ms, body);
    *content_type = METRICS_TYPE;
    return buffer_ok(body) ? 200 : 500;
}

int daemon_health_page(void *context, buffer *body, const char **content_type) {
    daemon_pages *self = context;
    *content_type = "text/plain; charset=utf-8";
    if (!atomic_load(&self->serving)) {
        buffer_text(body, "not serving\n");
        return 503;
    }
    if (self->spec->healthy != NULL && !self->spec->healthy(self->service)) {
        buffer_text(body, "unhealthy\n");
        return 503;
    }
    buffer_text(body, "ok\n");
    return 200;
}
