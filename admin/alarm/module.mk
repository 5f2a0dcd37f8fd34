$(call program,postern-alarm,alarm_main.c alarm_look.c admin/sendmail/notice.c,conf ipc io os log base)
