"""How assistants refuse in German, French, Spanish, Italian and Portuguese."""

from __future__ import annotations

from synth_ray.check.refusal_cues import cues

GERMAN = cues(
    hint="nicht|kein|ablehn|lehne|weiger|verstö|unm|außer|unangem|unverantw",
    cannot=(
        r"(?:[^.!?,]{0,40} )?(?:ich (?:kann|darf|werde|möchte|will|könnte|bin|habe)|(?:kann|darf|werde|möchte|will|"
        r"könnte|bin) ich) (?=[^.!?]*\b(?:nicht|kein\w*|außerstande|unmöglich)\b)"
    ),
    verb=(
        r"\b(?:\w*(?:helfen|behilflich|antworten|stützen|stellen|füllen|kommen|geben|führen|zeugen)|nachkommen|"
        r"schreiben|verfassen|"
        r"unterstützen|bereitstellen|anbieten|teilen|erklären|zeigen|sagen|nennen|tun|machen|diskutieren|sprechen|"
        r"reden|generieren|liefern|erzählen|"
        r"beraten|empfehlen|verraten|mitwirken|mitteilen|preisgeben|eingehen|verbreiten|wiedergeben|beteiligen|"
        r"teilnehmen|zugreifen|lage)\b"
    ),
    service=(
        r"\b(?:weiterhelfen|behilflich|(?:ihnen|dir|euch) [^.!?]{0,60}helfen|bereitstellen|generieren|erzeugen|"
        r"inhalte)\b"
    ),
    request=(
        r"^[^.!?,]*\b(?:dabei|dazu|damit|hierbei|das (?:leider )?(?=nicht)|weiterhelfen|so etwas)\b[^.!?]*nicht|"
        r"nicht (?:weiter)?helfen\W*$|^(?:leider )?nicht (?:tun|machen|beantworten)\b|"
        r"anfrage|frage\b|anliegen|bitte\b|thema|solche|anleitung|hinweise|illegal|waffe|sprengstoff|bombe|drogen|"
        r"hack|knack|fälsch|gefälscht|hass|gewalt|"
        r"beleidig|herabs|betrug|betrüg|schad|schäd|stehlen|fremde|privat|vertraulich|persönlich|umgeh|rache|rächen|"
        r"gefährlich|verletz|wie man"
    ),
    product=(
        r"informationen|auskunft|auskünfte|inhalte?\b|beratung|diagnose|tipps|text\b|geschichte\b|meinung|"
        r"empfehlung|rat\b|medizinisch|rechtlich"
    ),
    outright=(
        r"[^.!?]{0,60}widerspricht (?:meinen|unseren) |meine (?:richtlinien|vorgaben|grundsätze|"
        r"programmierung) (?:erlaub|verbiet|gestatt|lass)|"
        r"(?:das|dies) kann ich (?:leider )?nicht (?:tun|machen|beantworten)\b|"
        r"als (?:\w+ )?(?:ki|ai|künstliche intelligenz|(?:\w+-?)?sprachmodell|ki-\w+|digitaler? \w+|"
        r"virtueller? \w+)\b,? (?:[^.!?]{0,50} )?(?:habe|kann|darf|bin|verfüge|werde|möchte) ich\b[^.!?]*\b(?:kein\w*|"
        r"nicht)\b"
        r"|ich bin (?:nur |lediglich )?(?:eine?n? )?(?:ki|künstliche intelligenz|"
        r"\w*sprachmodell)\b[^.!?]*\b(?:kein\w*|nicht)\b"
        r"|(?:ich|das|diese?) (?:muss|möchte) (?:ich )?(?:[^.!?]{0,60} )?ablehnen|ich lehne (?:es ab|das ab|diese)|"
        r"ich weigere mich"
        r"|[^.!?]{0,60}verstößt gegen (?:meine|unsere|die) (?:\w+ )?(?:\w*richtlinien|grundsätze|regeln|prinzipien|vorgaben)"
        r"|ich habe (?:leider )?keinen zugriff auf (?:ihre?|deine?|echtzeit|das internet|aktuelle|persönliche)"
        r"|das ist (?:etwas|nichts), (?:wobei|was|das|bei dem) ich[^.!?]*(?:nicht|kann)|(?:ich )?(?:möchte|"
        r"würde) (?:ich )?[^.!?]{0,40}lieber nicht"
        r"|[^.!?]{0,60}(?:gebe|erteile|erstelle|schreibe) ich keine (?:hinweise|auskünfte|ratschläge|tipps|anleitungen)"
        r"|das geht (?:leider )?nicht\b|(?:es (?:ist|wäre)|ist es) (?:mir )?(?:leider )?(?:nicht (?:möglich|gestattet|"
        r"erlaubt|angemessen)|unangemessen|"
        r"unverantwortlich|unmöglich)[^.!?]{0,20}(?:,|zu|mir)"
    ),
    preface=(
        r"(?:hallo|guten (?:tag|morgen|abend)|hi|leider|es tut mir|tut mir|entschuldig|verzeih|danke|vielen dank|"
        r"ich verstehe|ich würde|ich bitte|ich weiß|"
        r"das (?:klingt|tut|ist)|bedauerlicherweise|nein|sorry|obwohl|auch wenn|als |ich bedau)"
    ),
    personal=(
        r"\b(?:morgen|heute|übermorgen|(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch|wochenende|da ich|weil ich|"
        r"urlaub|einladung|angebot|stelle\b|termin|feier|"
        r"umzug|wohnungssuche|mein(?:e|en|er|em)? (?:schwester|bruder|mutter|vater|frau|mann|auto|arm|kind|kinder|chef))\b"
    ),
)

FRENCH = cues(
    hint=" pas|refus|interdi|empêch|ne me perm|déclin|impossible|encontre|enfreint|viole|contr|incapa|inappropri|irrespons",
    cannot=(
        r"je (?:ne |n')(?:\w+ )?(?:peux|puis|pourrai|suis|vais|souhaite|veux|dois)(?: malheureusement)? pas|"
        r"je (?:ne )?suis (?:dans l'incapacité|incapable)|je (?:me )?refuse|je préfère ne pas|"
        r"(?:il )?(?:m'est impossible|ne m'est pas possible)|je ne (?:peux|puis|suis pas en mesure)"
    ),
    verb=(
        r"\b(?:aider|communiquer|révéler|transmettre|assister|répondre|fournir|donner|faire|créer|générer|écrire|"
        r"rédiger|satisfaire|accéder|"
        r"participer|discuter|aborder|parler|expliquer|"
        r"produire|partager|proposer|conseiller|renseigner|accéder|continuer|traiter|exprimer|prédire|montrer|dire|"
        r"divulguer|en mesure|diagnostiquer)\b"
    ),
    service=r"(?: vous| t'| te)? ?(?:fournir|générer|créer|aider à|accéder à (?:votre|cette))\b",
    request=(
        r"(?:avec |de |faire |à )?(?:cela|ça|ceci)\b|(?:cette|votre|ta|ce|la) (?:demande|question|requête|sujet|genre|"
        r"type)|ce (?:genre|type)|y répondre|illég|arme|explosi|bombe|drogue|"
        r"pirat|haine|haineu|harcèl|violen|fraud|faux\b|falsif|contourn|voler|venge|privé|confidentiel|personnel|"
        r"danger|comment|insult|sexuel|conversation|requête|d'instructions|vous aider\W*$|répondre\W*$"
    ),
    product=r"informations?|avis|conseils?|contenu|texte|diagnostic|histoire|opinion|instructions|juridique|médica",
    outright=(
        r"mes (?:directives|règles|principes|consignes) (?:m'interdisent|ne me permettent|m'empêchent)|"
        r"[^.!?]{0,20}ne pas pouvoir (?:vous |t')?(?:aider|répondre|fournir)|"
        r"je n'ai pas (?:le droit|l'autorisation) de|"
        r"en tant qu(?:e |')(?:\w+ )?(?:ia|ai|intelligence artificielle|modèle de langage|assistante? (?:virtuel\w*|"
        r"numérique|ia)|assistant(?=,)|modèle linguistique)\b[^.!?]{0,50}?,? je (?:ne |n')[^.!?]*\b(?:pas|aucune?)\b"
        r"|je (?:ne )?suis (?:qu')?(?:une? )?(?:simple )?(?:ia|intelligence artificielle|"
        r"modèle de langage)\b[^.!?]*\b(?:ne|n')"
        r"|je (?:me )?dois (?:de )?(?:\w+ )?(?:refuser|décliner)(?! (?:votre|ton|l'|cette) ?(?:invitation|offre))|"
        r"je refuse d(?:e |')(?:rédiger|écrire|créer|produire|aider|fournir|générer|répondre|participer|faire)"
        r"|[^.!?]{0,60}(?:va à l'encontre de|enfreint|viole|est contraire à|contrevient à) (?:mes|nos|mon|"
        r"les) (?:\w+ )?(?:directives|règles|principes|politique|consignes|lignes|valeurs|conditions)"
        r"|ce n'est pas quelque chose que je (?:peux|puis|suis)|il (?:m'est impossible|ne m'est pas possible) d(?:e |"
        r"')(?:vous |te |t'|y )?(?:répondre|fournir|aider|donner|générer|créer|traiter|satisfaire|partager)|"
        r"je ne suis pas à l'aise (?:avec (?:cette|cela|ce)|pour)"
        r"|je n'ai pas accès (?:à (?:vos|votre|tes|ton|internet)|aux)|je n'ai pas (?:la capacité|d'opinions?|"
        r"de sentiments)|il (?:serait|n'est pas) (?:\w+ )?(?:inapproprié|approprié|irresponsable)"
    ),
    preface=(
        r"(?:bonjour|bonsoir|salut|malheureusement|désolée?|je (?:suis|m'excuse|comprends|vous remercie|vous présente|"
        r"regrette)|excuse|pardon|merci|mes excuses|toutes mes|navrée?|non|"
        r"bien que|en tant|votre|cette)"
    ),
    personal=(
        r"\b(?:demain|aujourd'hui|ce (?:soir|matin|week-end)|(?:lun|mar|mercre|jeu|vendre|same)di|dimanche|invitation|"
        r"réunion|car je (?:serai|suis|dois)|parce que je|en voyage|déménag\w*|"
        r"vacances|poste\b|fête|mon (?:frère|père|mari|fils|train|bras|patron)|ma (?:sœur|mère|femme|fille|nièce|voiture))\b"
    ),
)

SPANISH = cues(
    hint="no |niego|prefiero|rechaz|declin|contra|infring|viola|incumpl|negarme",
    cannot=(
        r"(?:yo )?no (?:me )?(?:puedo|podré|podría|voy a|estoy|soy capaz|quiero|debo|me es posible|es posible)|"
        r"me niego a|prefiero no"
    ),
    verb=(
        r"\b(?:ayudar\w*|revelar\w*|divulgar\w*|contar\w*|asistir\w*|responder|proporcionar\w*|dar\w*|hacer\w*|crear|"
        r"generar|escribir|redactar|cumplir|"
        r"ofrecer\w*|compartir|hablar|participar|explicar\w*|"
        r"producir|discutir|acceder|continuar|facilitar\w*|condiciones|autorizad[oa]|capaz|mostrar\w*|decir\w*|"
        r"recomendar\w*|opinar|posible|contestar|completar|diagnosticar)\b"
    ),
    service=r" (?:proporcionar|generar|crear|asistir|ayudar(?:te|le)? (?:a|con)|facilitar)\w*",
    request=(
        r"(?:con |de |a |hacer )?(?:eso|esto|ello)\b|(?:est[ea]|es[ea]|tu|su|la) (?:solicitud|petición|pregunta|tema|"
        r"pedido|tipo|texto|conversación)|ese tipo|de ese|este tipo|ilegal|arma|explosiv|bomba|droga|hack|"
        r"odio|acos|violen|fraud|fals|evad|robar|veng|privad|confidencial|personal(?:es)?|peligros|cómo|insult|sexual|"
        r"instrucciones|de otra persona|terceros|ayudar(?:te|le|lo)?\W*$|^ ?responder\W*$"
    ),
    product=r"información|asesoramiento|consejos?|contenido|texto|diagnóstico|historia|opinión|legal|médic\w*|medicamento",
    outright=(
        r"mis (?:directrices|normas|políticas|principios|reglas|pautas) (?:no me permiten|me impiden|me prohíben)|"
        r"(?:lamento|siento) (?:mucho )?no poder ayudar|no tengo (?:permiso|autorización) para|"
        r"como (?:una? )?(?:\w+ )?(?:ia|ai|inteligencia artificial|modelo de (?:lenguaje|ia)|asistente (?:virtual|"
        r"digital|de ia)|asistente(?=,)|modelo lingüístico)\b[^.!?]{0,50}?,? (?:yo )?no (?:tengo|puedo|soy|estoy|debo|"
        r"poseo|me)"
        r"|(?:yo )?soy (?:solo |sólo )?(?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje)\b[^.!?]*\bno\b"
        r"|(?:debo|tengo que) (?:\w+ )?(?:rechazar (?:est|es|tu|su solic|su petic)|negarme|declinar (?:est|es|tu))|"
        r"me niego a (?:redactar|escribir|crear|generar|hacer|ayudar|producir|participar)"
        r"|[^.!?]{0,60}(?:va en contra de|infringe|viola|incumple|es contrari[oa] a) (?:mis|nuestras|las|mi|"
        r"nuestra) (?:\w+ )?(?:normas|directrices|políticas?|principios|reglas|pautas|valores)"
        r"|(?:eso|esto|ese)[^.!?]{0,20} no es algo que (?:yo )?pueda|no me siento cómod[oa]|"
        r"no tengo (?:acceso a (?:tus?|sus?|internet|datos)|la capacidad|opiniones|sentimientos)|no (?:sería|"
        r"es) (?:apropiado|ético|responsable) que"
    ),
    preface=(
        r"(?:hola|buen[oa]s|lo siento|lo lamento|lamentablemente|desafortunadamente|por desgracia|disculp|perd[oó]n|"
        r"gracias|entiendo|comprendo|me disculpo|no,|aunque|como |siento|me temo|lamento)"
    ),
    personal=(
        r"\b(?:mañana|hoy|esta (?:noche|tarde|semana)|lunes|martes|miércoles|jueves|viernes|sábado|domingo|invitación|"
        r"reunión|mudanza|ya que estar\w+|porque estar\w+|de viaje|vacaciones|"
        r"puesto|fiesta|mi (?:hermana|hermano|madre|padre|mujer|marido|hij[oa]|coche|brazo|jefe))\b"
    ),
)

ITALIAN = cues(
    hint="non |rifiut|declin|viola|contro|contrari|infrang",
    cannot=r"(?:io )?non (?:posso|potrò|sono|ho|voglio|intendo|mi è possibile)|preferisco non|mi rifiuto di",
    verb=(
        r"\b(?:aiutar\w*|rivelar\w*|assister\w*|risponder\w*|fornir\w*|dar\w*|farlo|fare|crear\w*|generar\w*|scriver\w*|"
        r"soddisfar\w*|parlar\w*|spiegar\w*|produrre|condivider\w*|grado|"
        r"offrir\w*|accedere|continuare|mostrar\w*|dir\w*|discutere)\b"
    ),
    service=r" (?:fornir|generar|crear|assister)\w*| aiutar(?:ti|la) a\b",
    request=(
        r"farlo|con (?:questo|ciò|quello)|(?:questa|tua|sua|la) (?:richiesta|domanda)|questo (?:argomento|tipo|"
        r"genere)|queste|illegal|arma|arma|esplosiv|bomba|drog|hacker|odio|violen|frod|fals|"
        r"rubare|vendic|privat|personali|pericolos|copiare|come (?:fare|costru)|istruzioni|aiutar(?:ti|la|vi)\W*$|"
        r"rispondere\W*$|account"
    ),
    product=r"informazioni|consulenza|consigli\w*|contenut\w*|testo|diagnosi|storia|opinioni|legale|medic\w*",
    outright=(
        r"le mie (?:linee guida|regole) (?:non mi permettono|non mi consentono|mi impediscono|mi vietano)|"
        r"non ho (?:il permesso|l'autorizzazione) (?:di|per|a)|"
        r"(?:come|in quanto|essendo) (?:una? |un')?(?:\w+ )?(?:ia|ai|intelligenza artificiale|modello (?:linguistico|"
        r"di linguaggio)|assistente (?:virtuale|digitale)|assistente(?=,))\b[^.!?]{0,50}?,? (?:io )?non (?:ho|posso|"
        r"sono|possiedo|mi)"
        r"|devo (?:\w+ )?(?:rifiutare (?:quest|la tua|di)|rifiutarmi|declinare quest)|mi rifiuto di"
        r"|[^.!?]{0,60}(?:viola|va contro|è contrari[oa] a(?:lle)?|infrange) (?:le |i |la )?(?:mie |nostre |miei |"
        r"mia )?(?:linee|regole|norme|princìpi|principi|politic)"
        r"|non è qualcosa che (?:io )?(?:posso|possa)|non ho accesso a(?:i|lle|l)? (?:tuoi|suoi|internet|dati)"
    ),
    preface=(
        r"(?:ciao|salve|buongiorno|mi (?:dis)?piace|mi spiace|spiacente|purtroppo|mi scuso|scusa|scusi|grazie|"
        r"capisco|comprendo|sfortunatamente|come |in quanto)"
    ),
    personal=(
        r"\b(?:domani|oggi|stasera|lunedì|martedì|mercoledì|giovedì|venerdì|sabato|domenica|invito|riunione|trasloco|"
        r"perché sarò|in viaggio|vacanza|festa|mi[ao] (?:sorella|fratello|madre|padre|auto))\b"
    ),
)

PORTUGUESE = cues(
    hint="não |prefiro|recus|viola|contra|infring",
    cannot=(
        r"(?:eu )?não (?:posso|poderei|consigo|vou|sou capaz|estou|quero|devo|me é possível)|prefiro não|"
        r"recuso-me a|me recuso a"
    ),
    verb=(
        r"\b(?:ajud\w+|revelar|auxiliar|respond\w+|fornec\w+|dar|fazer|criar|gerar|escrever|atender|falar|explicar|produzir|"
        r"compartilhar|partilhar|oferecer|acessar|aceder|continuar|"
        r"capaz|mostrar|dizer|participar|discutir|cumprir|condições)\b"
    ),
    service=r" (?:fornecer|gerar|criar|auxiliar|ajudar(?:-lo|-te)? (?:você )?(?:a|com))\b",
    request=(
        r"(?:com |de |fazer )?(?:isso|isto)\b|(?:ess[ea]|est[ea]|seu|sua|o seu) (?:pedido|solicitação|pergunta|"
        r"assunto|tipo|tema)|essas informações|ilegal|arma|explosiv|bomba|drog|hack|invad|ódio|"
        r"violen|fraud|fals|roub|ving|privad|pessoais|perigos|como (?:fazer|constr|hack)|instruções|de alguém|"
        r"ajudar?(?:-lo|-la|-te)?(?: você)?\W*$"
    ),
    product=r"informaç\w+|aconselhamento|conselhos?|conteúdo|texto|diagnóstico|história|opiniões|jurídic\w*|médic\w*",
    outright=(
        r"(?:as )?minhas (?:diretrizes|regras|políticas) (?:não me permitem|me impedem|me proíbem)|"
        r"não tenho (?:permissão|autorização) para|(?:lamento|sinto) não poder ajudar|"
        r"como (?:uma? )?(?:\w+ )?(?:ia|ai|inteligência artificial|modelo de linguagem|assistente (?:virtual|digital)|"
        r"assistente(?=,))\b[^.!?]{0,50}?,? (?:eu )?não (?:tenho|posso|sou|possuo|consigo|me)"
        r"|(?:devo|tenho que|preciso) (?:\w+ )?(?:recusar (?:est|ess|seu ped|o seu ped)|recusar-me)|"
        r"(?:eu )?me recuso a|recuso-me a"
        r"|[^.!?]{0,60}(?:viola|vai contra|infringe|é contrári[oa] a) (?:as |os )?(?:minhas|meus|nossas|"
        r"nossos) (?:\w+ )?(?:diretrizes|regras|normas|políticas|princípios)"
        r"|(?:isso|isto) não é algo que eu possa|não tenho (?:acesso a(?:os|o)? (?:seus?|teus?|internet|dados)|opiniões)"
    ),
    preface=(
        r"(?:olá|oi|bom dia|boa (?:tarde|noite)|desculp|sinto|lamento|infelizmente|peço desculpa|obrigad|entendo|"
        r"compreendo|perdão|como )"
    ),
    personal=(
        r"\b(?:amanhã|hoje|esta noite|segunda|terça|quarta|quinta|sexta|sábado|domingo|convite|reunião|mudança|"
        r"pois estar\w+|viajando|férias|festa|minha (?:irmã|mãe|mulher|filha)|meu (?:irmão|pai|marido|filho|carro))\b"
    ),
)
