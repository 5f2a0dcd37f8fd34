$(call program,sendmail,sendmail.c sendmail_msg.c sendmail_smtp.c,smtp mail conf os log base)
