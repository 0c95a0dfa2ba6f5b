/* gRPC as a library: started with the first object of ours, ended with the last. */
#ifndef RPC_LIBRARY_H
#define RPC_LIBRARY_H

void library_enter(void);
void library_leave(void);         /* blocking; not on an event loop */
void library_leave_on_loop(void); /* the loop's own reference keeps it alive */

#endif
