/* threads.c - blocks that change hands, and a thread that is about to wait.
 *
 * Any thread may free any block. A thread needs no registration; one that will
 * block for long can say so, and its cached memory serves the others meanwhile.
 */
#include <hakmem/hakmem.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
  MESSAGES = 1000
};

typedef struct message {
  struct message *next;
  char text[40];
} message_t;

static message_t *inbox;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;

static void *receive(void *unused) {
  (void)unused;
  for (int received = 0; received < MESSAGES;) {
    pthread_mutex_lock(&lock);
    while (inbox == NULL) {
      hak_thread_idle(); /* costs as much as freeing what this thread cached */
      pthread_cond_wait(&arrived, &lock);
    }
    message_t *message = inbox;
    inbox = NULL;
    pthread_mutex_unlock(&lock);
    while (message != NULL) {
      message_t *next = message->next;
      hak_free(message); /* allocated by the sender */
      message = next;
      received++;
    }
  }
  return NULL;
}

int main(void) {
  pthread_t receiver;
  if (pthread_create(&receiver, NULL, receive, NULL) != 0) return 1;
  for (int i = 0; i < MESSAGES; i++) {
    message_t *message = hak_alloc(sizeof *message);
    if (message == NULL) return 1;
    snprintf(message->text, sizeof message->text, "message %d", i);
    pthread_mutex_lock(&lock);
    message->next = inbox;
    inbox = message;
    pthread_cond_signal(&arrived);
    pthread_mutex_unlock(&lock);
  }
  pthread_join(receiver, NULL);
  printf("%d messages allocated by one thread, freed by another\n", MESSAGES);
  return 0;
}
