"""A few words of wishes in other languages, as English has them.

Knows nothing about grammar: each phrase is replaced by itself, which is enough for "en moins de 20
mots" and "ohne Kommas". Nobody sees the result: it is only read for what it counts.
"""

from __future__ import annotations

import re

from amulet_local.preferences.form.quoted import QUOTED

_ENGLISH = re.compile(
    r"\b(?:the|and|with|without|of|your|words?|sentences?|answer|write|every|each|only|must|please|"
    r"should|like|lists?|letters?)\b",
    re.I,
)


def _phrases(table: str) -> dict[str, str]:
    pairs = (entry.split("=") for entry in table.replace("\n", "|").split("|") if "=" in entry)
    return dict(sorted(((a.strip(), b.strip()) for a, b in pairs), key=lambda pair: -len(pair[0])))


_TABLES = (
    _phrases(
        """
        ohne=without|keine=no|keinen=no|kein=no|und=and|oder=or|aber=but|mit=with|benutze=use
        verwende=use|nicht mehr als=no more than|weniger als=fewer than|höchstens=at most
        maximal=at most|unter=under|genau=exactly|bis zu=up to|einzigen=single|ungefähr=about
        etwa=about|circa=about|rund=about|mindestens=at least|pro=per|kommas=commas|komma=commas
        semikolons=semicolons|strichpunkte=semicolons|doppelpunkte=colons
        ausrufezeichen=exclamation marks|fragezeichen=question marks|ziffern=digits
        zahlen=digits|emojis=emojis|klammern=parentheses|anführungszeichen=quotation marks
        gedankenstriche=dashes|bindestriche=dashes|sternchen=asterisks|überschriften=headings
        aufzählungen=lists|listen=lists|aufzählungspunkte=bullet points
        stichpunkten=bullet points|stichpunkte=bullet points|fettdruck=bold
        kleinbuchstaben=lower case|großbuchstaben=upper case|schreibe=write|schreib=write
        niemals=never|nie=never|kleingeschrieben=lower case|klein geschrieben=lower case
        groß geschrieben=upper case|großgeschrieben=upper case|komplett=completely|alles=all
        nur=only|satz=sentence|sätzen=sentences|sätze=sentences|wörtern=words|wörter=words
        worten=words|wort=word|zeichen=characters|absätzen=paragraphs|absätze=paragraphs
        absatz=paragraph|das wort=the word|den buchstaben=the letter|dem wort=the word
        dem satz=the sentence|beginne=begin|beginnend=beginning|fang an=begin|ende=end
        beende=end|einem=one|einer=one|eine=one|ein=one|zwei=two|drei=three|vier=four|fünf=five
        sechs=six|sieben=seven|acht=eight|neun=nine|zehn=ten|zwanzig=twenty|dreißig=thirty
        kurze=short|kurz=short|knapp=brief|sehr=very|fasse dich=be|fass dich=be|sei=be|ganz=very
        immer=always|viele=many|viel=much|antworten=answers|antwort=answer|tabelle=table|als=as
        vierzig=forty|fünfzig=fifty|hundert=hundred|jeder=each|jeden=each|bitte=please
        vielen=many|ein paar=some|einigen=some|einige=some|passenden=fitting|füge=add
        """
    ),
    _phrases(
        """
        sans utiliser=without using|sans=without|et=and|ou=or|ni=or
        mais=but|avec=with|n'utilise pas=don't use|d'émojis=emojis|d'emojis=emojis
        de virgules=commas|écris=write|s'il te plaît=please|s'il vous plaît=please
        utilise=use|utilisez=use|toujours=always
        beaucoup de=many|beaucoup d'émojis=many emojis
        avec des=with some|ajoute des=add some|ajoute=add|utilise des=use some
        quelques=some|plein de=many
        n'utilise jamais=never use|pas d'émojis=no emojis|pas d'emojis=no emojis|pas de=no|aucune=no
        aucun=no|jamais de=no
        pas plus de=no more than|moins de=fewer than|au maximum=at most|au plus=at most
        maximum=maximum|jusqu'à=up to|exactement=exactly|environ=about|au moins=at least|par=per
        virgules=commas|virgule=commas|points-virgules=semicolons|deux-points=colons
        points d'exclamation=exclamation marks|points d'interrogation=question marks
        chiffres=digits|émojis=emojis|emojis=emojis|émoticônes=emojis|parenthèses=parentheses
        guillemets=quotation marks|tirets=dashes|astérisques=asterisks|titres=headings
        listes=lists|puces=bullets|minuscules=lower case|majuscules=upper case|une seule=one
        un seul=one|tout=all|uniquement=only|phrases=sentences|phrase=sentence|mots=words
        mot=word|caractères=characters|paragraphes=paragraphs|paragraphe=paragraph|points=points
        le mot=the word|la lettre=the letter|la phrase=the sentence|les mots=the words
        commence par=begin with|commencer par=begin with|termine par=end with
        termine avec=end with|terminer par=end with|en=in|une=one|un=one|deux=two|trois=three
        quatre=four|cinq=five|six=six|sept=seven|huit=eight|neuf=nine|dix=ten|vingt=twenty
        courtes=short|courte=short|court=short|brèves=brief|brève=brief|bref=brief|très=very
        stp=please|svp=please|sois=be
        réponses=answers|réponse=answer|tableau=table|sous forme de=as
        trente=thirty|quarante=forty|cinquante=fifty|cent=hundred|chaque=each
        """
    ),
    _phrases(
        """
        sin usar=without using|sin=without|no uses=don't use|escribe=write|usa=use|utiliza=use
        siempre=always|muchos=many|por favor=please
        añade=add|agrega=add|algunos=some|unos cuantos=some|montones de=many
        nada de=no|y=and|o=or|ni=or|pero=but|con=with|no más de=no more than|menos de=fewer than
        como máximo=at most|máximo=maximum|a lo sumo=at most|hasta=up to|exactamente=exactly
        unas=about|unos=about|aproximadamente=about|al menos=at least|por=per|comas=commas
        puntos y comas=semicolons|dos puntos=colons|signos de exclamación=exclamation marks
        exclamaciones=exclamation marks|signos de interrogación=question marks|cifras=digits
        dígitos=digits|números=digits|emojis=emojis|emoticonos=emojis|paréntesis=parentheses
        comillas=quotation marks|guiones=dashes|asteriscos=asterisks|títulos=headings
        encabezados=headings|listas=lists|viñetas=bullets|minúsculas=lower case
        minúscula=lower case|mayúsculas=upper case|mayúscula=upper case|una sola=one|un solo=one
        todo=all|solo=only|frases=sentences|frase=sentence|oraciones=sentences|oración=sentence
        palabras=words|palabra=word|caracteres=characters|párrafos=paragraphs|párrafo=paragraph
        puntos=points|la palabra=the word|la letra=the letter|la frase=the sentence
        las palabras=the words|empieza con=begin with|empieza por=begin with
        comienza con=begin with|termina con=end with|acaba con=end with|en=in|una=one|un=one
        dos=two|tres=three|cuatro=four|cinco=five|seis=six|siete=seven|ocho=eight|nueve=nine
        cortas=short|corta=short|corto=short|breves=brief|breve=brief|muy=very|sé=be
        respuestas=answers
        respuesta=answer|tabla=table|en forma de=as
        diez=ten|veinte=twenty|treinta=thirty|cuarenta=forty|cincuenta=fifty|cien=hundred
        cada=each
        """
    ),
    _phrases(
        """
        senza usare=without using|senza=without|non usare=don't use|scrivi=write|usa=use
        sempre=always|molti=many|molte=many
        aggiungi=add|qualche=some|alcune=some|tante=many|tanti=many
        per favore=please|niente=no|nessuna=no|nessun=no|e=and|o=or|né=or|ma=but|con=with
        non più di=no more than|meno di=fewer than|al massimo=at most|massimo=maximum
        fino a=up to|esattamente=exactly|circa=about|almeno=at least|per=per|virgole=commas
        punti e virgola=semicolons|due punti=colons|punti esclamativi=exclamation marks
        punti interrogativi=question marks|cifre=digits|numeri=digits|emoji=emojis
        emoticon=emojis|parentesi=parentheses|virgolette=quotation marks|trattini=dashes
        asterischi=asterisks|titoli=headings|elenchi puntati=bullet points|elenchi=lists
        minuscolo=lower case|minuscole=lower case|minuscola=lower case|maiuscolo=upper case
        maiuscole=upper case|maiuscola=upper case|una sola=one|un solo=one|tutto=all|solo=only
        frasi=sentences|frase=sentence|parole=words|parola=word|caratteri=characters
        paragrafi=paragraphs|paragrafo=paragraph|punti elenco=bullet points|punti=points
        la parola=the word|la lettera=the letter|la frase=the sentence|inizia con=begin with
        comincia con=begin with|finisci con=end with|termina con=end with|in=in|una=one|un=one
        due=two|tre=three|quattro=four|cinque=five|sei=six|sette=seven|otto=eight|nove=nine
        brevi=brief|breve=brief|corte=short|corta=short|corto=short|molto=very|sii=be
        risposte=answers
        risposta=answer|tabella=table|dieci=ten|venti=twenty|trenta=thirty|quaranta=forty
        cinquanta=fifty|cento=hundred
        ogni=each
        """
    ),
    _phrases(
        """
        sem usar=without using|sem=without|não use=don't use|escreva=write|use=use|sempre=always
        muitos=many|muitas=many|por favor=please
        adicione=add|alguns=some|algumas=some|vários=some
        nada de=no|nenhuma=no|nenhum=no|e=and|ou=or|nem=or|mas=but|com=with
        não mais de=no more than|não mais que=no more than|menos de=fewer than|no máximo=at most
        máximo=maximum|até=up to|exatamente=exactly|cerca de=about|umas=about
        pelo menos=at least|por=per|vírgulas=commas|ponto e vírgula=semicolons
        dois pontos=colons|pontos de exclamação=exclamation marks|exclamações=exclamation marks
        pontos de interrogação=question marks|dígitos=digits|números=digits|algarismos=digits
        emojis=emojis|parênteses=parentheses|aspas=quotation marks|travessões=dashes
        hífens=dashes|asteriscos=asterisks|títulos=headings|listas=lists|marcadores=bullets
        minúsculas=lower case|maiúsculas=upper case|uma única=one|um único=one|uma só=one
        um só=one|tudo=all|só=only|apenas=only|frases=sentences|frase=sentence|palavras=words
        palavra=word|caracteres=characters|parágrafos=paragraphs|parágrafo=paragraph
        tópicos=bullet points|itens=items|pontos=points|a palavra=the word|a letra=the letter
        a frase=the sentence|comece com=begin with|começa com=begin with|termine com=end with
        termina com=end with|em=in|uma=one|um=one|dois=two|duas=two|três=three|quatro=four
        curtas=short|curta=short|curto=short|breves=brief|breve=brief|muito=very|seja=be
        respostas=answers
        resposta=answer|tabela=table|cinco=five|seis=six|sete=seven|oito=eight|nove=nine|dez=ten
        vinte=twenty|trinta=thirty
        quarenta=forty|cinquenta=fifty|cem=hundred|cada=each
        """
    ),
)


_LANGUAGES = [
    (
        phrases,
        re.compile(
            rf"{QUOTED}|(?P<phrase>(?<!\w)(?:{'|'.join(map(re.escape, phrases))})(?!\w))", re.I
        ),
    )
    for phrases in _TABLES
]


def in_english(text: str) -> str:
    """The text with the phrases of the one language in it that it has most of, in English.

    What stands in quotation marks stays.
    """
    if _ENGLISH.search(text):
        return text
    best, most = text, 0
    for phrases, pattern in _LANGUAGES:
        n_letters = 0

        def replaced(found: re.Match[str], phrases: dict[str, str] = phrases) -> str:
            nonlocal n_letters
            if found["phrase"] is None:
                return found[0]
            n_letters += len(found[0])
            return phrases[found["phrase"].lower()]

        changed = pattern.sub(replaced, text)
        if n_letters > most:
            best, most = changed, n_letters
    return best
