/* Writes chunks to a child process over loopback TCP, which reads them into memory, and prints how
 * many and in how many seconds: stream BYTES COUNT */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { memory = 1 << 22, piece = 65536 };
static char octets[memory];

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec + at.tv_nsec / 1e9;
}

static void drain(int server, long long total) {
  int fd = accept(server, NULL, NULL);
  long long at = 0;
  while (at < total) {
    ssize_t got = read(fd, octets + at % (memory - piece), piece);
    if (got <= 0) _exit(1);
    at += got;
  }
  if (write(fd, "x", 1) != 1) _exit(1);
  _exit(0);
}

int main(int count, char **words) {
  long bytes = atol(words[1]), chunks = atol(words[2]), warm = chunks / 2;
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  memset(octets, 1, memory);
  int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (count != 3 || bind(server, (void *)&address, size) || listen(server, 1)) return 1;
  getsockname(server, (void *)&address, &size);
  if (fork() == 0) drain(server, (long long)bytes * (chunks + warm));
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (void *)&address, size)) return 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  double start = 0;
  for (long chunk = 0; chunk < chunks + warm; chunk++) {
    if (chunk == warm) start = now();
    char *from = octets + chunk * bytes % memory;
    for (long at = 0; at < bytes;) {
      ssize_t put = write(fd, from + at, bytes - at);
      if (put <= 0) return 1;
      at += put;
    }
  }
  char answer;
  if (read(fd, &answer, 1) != 1) return 1;
  printf("%ld %f", chunks, now() - start);
  return 0;
}
