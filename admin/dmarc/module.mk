$(call program,postern-dmarc,dmarc_main.c dmarc_day.c dmarc_send.c admin/sendmail/sendmail_smtp.c,authres smtp mail dns conf ipc io os log base)
