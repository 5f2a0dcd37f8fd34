$(call program,pop3d,main.c login.c login_cmd.c,front ipc conf io os log base)
$(call program,pop3-session,session_main.c session.c maildrop.c cmd.c,store imap mail map ipc io os conf log base)
$(call fuzzer,fuzz_pop3_session,fuzz_session.c session.c maildrop.c cmd.c,store imap mail ipc io os conf log base test)
$(call fuzzer,fuzz_pop3_login,fuzz_login.c login.c login_cmd.c,front ipc conf io os log base test)
