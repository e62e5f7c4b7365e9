/* Prints the addresses of a name as libc's own resolver finds them: `FAMILY ADDRESS` by line, or why there are none. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int count, char **arguments) {
  struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
  int failed = getaddrinfo(count > 1 ? arguments[1] : "", NULL, &wanted, &found);
  if (failed) {
    printf("none: %s\n", gai_strerror(failed));
    return 2;
  }
  for (struct addrinfo *each = found; each; each = each->ai_next) {
    char text[INET6_ADDRSTRLEN];
    const void *address = each->ai_family == AF_INET6
                              ? (const void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr
                              : (const void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr;
    inet_ntop(each->ai_family, address, text, sizeof text);
    printf("%d %s\n", each->ai_family == AF_INET6 ? 6 : 4, text);
  }
  return 0;
}
