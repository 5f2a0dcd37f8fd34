$(call program,imapd,main.c login.c front_cmd.c front_auth.c caps.c,front imap ipc conf io os log base)
