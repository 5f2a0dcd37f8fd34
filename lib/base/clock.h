/* Time. Deadlines use the monotonic clock in milliseconds; mail uses wall-clock seconds. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
uint64_t clock_thread_us(void);	/* CPU time of this thread: a system call */
uint64_t clock_wall_us(void);	/* microseconds since 1970 */
int64_t clock_wall(void);	/* seconds since 1970 */
/* n bytes from the kernel's generator (getrandom). Never fails: exits when the kernel cannot. */
void random_bytes(void *p, unsigned n);
uint64_t random_u64(void);
/* Different each time, in each process, without a system call: for names and marks that need only be no other's. Who has seen one can tell the next. */
uint64_t unique_u64(void);

#endif
