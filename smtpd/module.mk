$(call program,smtpd,main.c session.c profile.c peers.c cmd_hello.c cmd_mail.c cmd_data.c cmd_auth.c cmd_starttls.c cmd_misc.c,front smtp mail conf ipc io os log base)
