$(call program,postern-alarm,alarm_main.c alarm_look.c alarm_units.c admin/sendmail/notice.c,map conf ipc io os log base)
$(call unittest,test_alarm_units,test_alarm_units.c alarm_units.c,conf os log base test)
