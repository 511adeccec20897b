/* Prints every address of a name as this C library sees it; built with musl-gcc by `cargo xtask setup --tests`. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *at;
    char text[INET6_ADDRSTRLEN];
    int error = argc < 2 ? EAI_NONAME : getaddrinfo(argv[1], NULL, &hints, &list);
    if (error) {
        fprintf(stderr, "%s\n", gai_strerror(error));
        return 1;
    }
    for (at = list; at; at = at->ai_next) {
        void *address = at->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)at->ai_addr)->sin_addr
                                                 : (void *)&((struct sockaddr_in6 *)at->ai_addr)->sin6_addr;
        puts(inet_ntop(at->ai_family, address, text, sizeof text));
    }
    return 0;
}
