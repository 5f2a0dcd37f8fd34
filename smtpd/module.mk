SMTPD_SESSION := session.c session_reply.c session_log.c profile.c peers.c cmd_hello.c cmd_mail.c cmd_data.c cmd_bdat.c esmtp.c cmd_auth.c cmd_starttls.c cmd_etrn.c footer.c cmd_xclient.c upstream.c greet.c ccert.c tables.c cmd_misc.c
$(call program,smtpd,main.c $(SMTPD_SESSION),front map smtp mail conf ipc io os log base)
$(call unittest,test_smtpd_session,test_session.c $(SMTPD_SESSION),map smtp conf ipc io os log base test)
$(call fuzzer,fuzz_smtp_session,fuzz_session.c $(SMTPD_SESSION),map smtp conf ipc io os log base test)
