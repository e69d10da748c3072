/* tls_eater.c - a shared object that needs static TLS, and nothing else. */
static _Thread_local char bytes[8];

char *tls_eater(void);
char *tls_eater(void) { return bytes; }
